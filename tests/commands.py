"""Commands in pages, as a shell would read them."""

import contextlib
import importlib
import io
import pathlib
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import gin


class Command(NamedTuple):
  """A command as a page shows it.

  Attributes:
    words: program and arguments.
    whole: whether all that the program requires stands there.
  """

  words: tuple[str, ...]
  whole: bool

  @property
  def program(self) -> str:
    """Name of the program, without its folder."""
    return self.words[0].rpartition('/')[2]


def commands_in(text: str) -> Iterator[Command]:
  """The commands of a shell text; those that are quoted in another one, too."""
  text = re.sub(r'\\\n', ' ', text)
  text = re.sub(r'\$\([^()]*\)', 'made', text)  # what another command prints
  for line in _lines(text):
    words = shlex.split(line, comments=True)
    for part in _divided(words, '&&'):
      while re.fullmatch(r'[A-Z][A-Z_0-9]*=.*', part[0]):  # environment
        part = part[1:]
      whole = part[-1] != '...'
      yield Command(tuple(part if whole else part[:-1]), whole)
      for word in part:
        if word.startswith('--command='):
          yield from commands_in(word.partition('=')[2])


def _lines(text):
  """Lines of a shell, with those that a quote or `&&` joins in one."""
  line = ''
  for more in text.splitlines():
    line = f'{line}\n{more}' if line else more
    try:
      words = shlex.split(line, comments=True)
    except ValueError:  # a quote is open
      continue
    if words and words[-1] != '&&':
      yield line
    if not words or words[-1] != '&&':
      line = ''
  assert not line, f'never ends: {line}'


def _divided(words: Sequence[str], at: str) -> Iterator[list[str]]:
  part = []
  for word in [*words, at]:
    if word != at:
      part.append(word)
      continue
    yield part
    part = []


def shown(page: pathlib.Path) -> list[Command]:
  """What a page shows: blocks of bash, and `python -m ...` or `make ...` in a line.

  Variables stand there with the values that the page exports.
  """
  text, found, values = page.read_text(), [], {}
  for block in re.findall(r'^```bash\n(.*?)^```', text, re.MULTILINE | re.DOTALL):
    for command in commands_in(block):
      if command.program.startswith('--'):  # more flags for the command before
        command = Command((*found[-1].words, *command.words), found[-1].whole)
      words = tuple(_filled(word, values) for word in command.words)
      if command.program == 'export':
        values |= dict(word.split('=', 1) for word in words[1:])
      found.append(command._replace(words=words))
  text = re.sub(r'^```.*?^```', '', text, flags=re.MULTILINE | re.DOTALL)
  for span in re.findall(r'`((?:python\s+-m|make)\s[^`]+)`', text):
    named = list(commands_in(' '.join(span.split())))
    found += [command._replace(whole=False) for command in named]
  return found


def run(command: Command, *more: str) -> str:
  """Runs `python -m MODULE FLAGS` in this process; returns what it printed.

  Args:
    command: as a page shows it.
    *more: flags after its own, such as those that make it small.

  Raises:
    AssertionError: the command exits with an error.
  """
  assert command.words[:2] == ('python', '-m')
  name = command.words[2]
  package = importlib.util.find_spec(name).submodule_search_locations
  module = importlib.import_module(f'{name}.__main__' if package else name)
  gin.clear_config()  # each command is a process of its own to its user
  start = getattr(module, 'run', None) or module.main
  with contextlib.redirect_stdout(io.StringIO()) as printed:
    try:
      start([*command.words[3:], *more])
    except SystemExit as ended:
      if ended.code:
        raise AssertionError(f'{name}: {ended.code}') from ended
  return printed.getvalue()


def _filled(word, values):
  return re.sub(r'\$(\w+)', lambda match: values.get(match[1], match[0]), word)
