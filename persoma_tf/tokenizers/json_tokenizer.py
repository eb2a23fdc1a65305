"""Reads tokenizer.json, the file of the library `tokenizers`, for plain texts.

The library turns the sign of an added token, such as '<|im_end|>', into that token
wherever a text has it. So the tokenizer that encodes is made without the signs; the one
that decodes keeps them.
"""

import json
import os
import pathlib
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from tokenizers import Tokenizer

from persoma_tf import model_files
from persoma_tf.tokenizers.plain_text import PlainTokenizer, is_sign

FILE = 'tokenizer.json'
_SECRET = secrets.token_hex(8)  # stands in no text
_ENDS = ('generation_config.json', 'config.json')  # where eos_token_id is looked for


def read_json_tokenizer(folder: str | os.PathLike) -> PlainTokenizer:
  """Reads the tokenizer of a Hugging Face folder.

  Args:
    folder: path of a folder with tokenizer.json; tokenizer_config.json and config.json
      beside it name the tokens that end a text.

  Raises:
    ValueError: a file is damaged, or no file names a token that ends a text.
  """
  path = pathlib.Path(folder)
  content = model_files.read_object(path / FILE)
  with model_files.reading(path / FILE, 'tokenizer'):
    reader = Tokenizer.from_str(json.dumps(content))
    writer = Tokenizer.from_str(json.dumps(_without_signs(content)))
  # Padding and truncation may be stored; both would change a text.
  for tokenizer in (reader, writer):
    tokenizer.no_padding()
    tokenizer.no_truncation()
  ends = _ends(path, reader)
  unknown = content['model'].get('unk_token')
  if unknown is None and content['model'].get('unk_id') is not None:  # of Unigram
    unknown = content['model']['vocab'][content['model']['unk_id']][0]
  return PlainTokenizer(
    lambda text: writer.encode(text, add_special_tokens=False).ids,
    lambda text: reader.encode(text, add_special_tokens=False).ids,
    lambda ids: reader.decode(ids, skip_special_tokens=False),
    reader.get_vocab_size(),
    ends[0],
    None if unknown is None else reader.token_to_id(unknown),
    tuple(ends[1:]),
  )


def _without_signs(content: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a tokenizer.json in which no text becomes an added token that is a sign.

  All tokens keep their ids: a sign is replaced by a name that no text has.
  """
  added = content.get('added_tokens') or []
  signs = {x['content'] for x in added if x.get('special') or is_sign(x['content'])}
  model = dict(content['model'])
  model['vocab'] = _renamed(model['vocab'], signs)
  if model.get('merges'):
    model['merges'] = [x for x in model['merges'] if not signs & _tokens_of(x)]
  for field in ('unk_token', 'continuing_subword_prefix', 'end_of_word_suffix'):
    if model.get(field) in signs:
      model[field] = _hidden(model[field])
  hidden = [
    {**x, 'content': _hidden(x['content'])} if x['content'] in signs else x
    for x in added
  ]
  changes = {'model': model, 'added_tokens': hidden, 'post_processor': None}
  return {**content, **changes}


def _renamed(vocabulary, signs: Collection[str]):
  """Returns {token: id}, or Unigram's [[token, score]], without signs."""
  rename = lambda token: _hidden(token) if token in signs else token
  if isinstance(vocabulary, dict):
    return {rename(token): number for token, number in vocabulary.items()}
  return [[rename(token), score] for token, score in vocabulary]


def _hidden(token):
  return f'\0{_SECRET}{token}'


def _tokens_of(merge):
  """Returns the parts and the result of a merge; older files have them in one text."""
  parts = merge.split(' ', 1) if isinstance(merge, str) else merge
  return {*parts, ''.join(parts)}


def _ends(folder: pathlib.Path, tokenizer: Tokenizer) -> list[int]:
  """Returns the ids of the tokens that end a text, that of the tokenizer first."""
  found = []
  settings = folder / 'tokenizer_config.json'
  if settings.exists():
    end = model_files.read_object(settings).get('eos_token')
    end = end.get('content') if isinstance(end, dict) else end
    if end is not None and tokenizer.token_to_id(end) is not None:
      found.append(tokenizer.token_to_id(end))
  for name in _ENDS:
    if (folder / name).exists():
      ids = model_files.read_object(folder / name).get('eos_token_id')
      found += ids if isinstance(ids, list) else [] if ids is None else [ids]
  if not found:
    raise ValueError(
      f'{folder}: no eos_token in tokenizer_config.json and no eos_token_id in '
      'config.json; expected the token that ends a text'
    )
  return list(dict.fromkeys(found))
