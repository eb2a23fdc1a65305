"""Reads the chat template of a model: what stands around a user's message.

Instruction-tuned models publish it as a Jinja template, in tokenizer_config.json, in
chat_template.jinja or in a GGUF file. It is rendered as transformers renders it
(`apply_chat_template`): sandboxed, without line breaks of its own tags.
"""

import datetime
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from persoma_tf import model_files

FILE = 'chat_template.jinja'
_SETTINGS = 'tokenizer_config.json'
# Name of a token in templates -> its name in GGUF files.
_SIGNS = {
  'bos_token': 'bos',
  'eos_token': 'eos',
  'unk_token': 'unknown',
  'pad_token': 'padding',
}
_MESSAGE = 'THE-MESSAGE-OF-THE-USER'  # what a template must write once, as it is
# Some templates tell the model today's date, but a trained adapter needs a fixed text.
# Llama 3's template has this date where a program gives none.
_DATE = datetime.date(2024, 7, 26)


class ChatTemplate(NamedTuple):
  """Holds the chat template of a model.

  Attributes:
    source: text of the template, in Jinja's language.
    signs: names and texts of the tokens that it can write, such as `bos_token`.
    file: path of its file, for error messages.
  """

  source: str
  signs: Mapping[str, str]
  file: str

  def around_message(self) -> tuple[str, str]:
    """Returns the texts before and after a user's message.

    The second text ends where the model's answer begins. Models that can think before
    they answer are asked not to.

    Raises:
      ValueError: the template is damaged, refuses such a chat, or changes the message.
    """
    text = self._render([{'role': 'user', 'content': _MESSAGE}])
    before, *after = text.split(_MESSAGE)
    if len(after) != 1:
      raise ValueError(
        f'{self.file}: the chat template writes a message of the user {len(after)} '
        'times; expected once: name the parts of build.prompt_order one by one'
      )
    return before, after[0]

  def _render(self, messages) -> str:
    """Returns the text of a chat, up to where the model's answer begins."""
    import jinja2  # only those who ask for a template wait for it
    from jinja2 import ext, sandbox

    def refuse(message):
      raise jinja2.TemplateError(message)

    # transformers' tag around what the model has written; it writes nothing itself.
    class Generation(ext.Extension):
      tags = frozenset({'generation'})

      def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(('name:endgeneration',), drop_needle=True)

    environment = sandbox.ImmutableSandboxedEnvironment(
      trim_blocks=True, lstrip_blocks=True, extensions=[Generation, ext.loopcontrols]
    )
    environment.filters['tojson'] = functools.partial(json.dumps, ensure_ascii=False)
    environment.globals |= {
      'raise_exception': refuse,
      'strftime_now': _DATE.strftime,
    }
    try:
      return environment.from_string(self.source).render(
        **self.signs,
        messages=messages,
        tools=None,
        documents=None,
        add_generation_prompt=True,
        enable_thinking=False,
      )
    except Exception as error:  # a template can cause an error of any type
      raise ValueError(f'{self.file}: the chat template says: {error}') from error


def chat_of_folder(folder: str) -> ChatTemplate | None:
  """Reads the chat template of a Hugging Face folder; None if it has none.

  Raises:
    ValueError: a file is damaged.
  """
  file, path = pathlib.Path(folder, FILE), pathlib.Path(folder, _SETTINGS)
  settings = model_files.read_object(path) if path.exists() else {}
  signs = {name: _content(settings.get(name)) for name in _SIGNS if settings.get(name)}
  if file.exists():
    return ChatTemplate(file.read_text(encoding='utf-8'), signs, str(file))
  found = settings.get('chat_template')
  if isinstance(found, list):  # several, by name
    found = {entry.get('name'): entry.get('template') for entry in found}.get('default')
  return ChatTemplate(found, signs, str(path)) if isinstance(found, str) else None


def chat_of_gguf(read: Callable[[str], Any], path: str) -> ChatTemplate | None:
  """Reads the chat template of a GGUF file; None if it has none.

  Args:
    read: function from the key of a field to its content, None for a missing field.
    path: path of the file.
  """
  source = read('tokenizer.chat_template')
  if not isinstance(source, str) or not source:
    return None
  tokens = read('tokenizer.ggml.tokens') or []
  # What a missing field means in files with SentencePiece's pieces.
  usual = {'bos': 1, 'eos': 2, 'unknown': 0}
  usual = usual if read('tokenizer.ggml.model') == 'llama' else {}
  signs = {}
  for name, key in _SIGNS.items():
    number = read(f'tokenizer.ggml.{key}_token_id')
    number = usual.get(key, -1) if number is None else number
    if 0 <= number < len(tokens):
      signs[name] = tokens[number]
  return ChatTemplate(source, signs, path)


def _content(sign: Any) -> str:
  """Returns the text of a token, which older files describe by an object."""
  return sign.get('content', '') if isinstance(sign, Mapping) else sign
