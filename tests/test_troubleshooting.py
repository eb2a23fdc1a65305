"""docs/troubleshooting.md has every message of ours, and no other.

`python -m tests.test_troubleshooting` prints the messages that the page lacks, and
those that the code no longer has.
"""

import ast
import functools
import pathlib
import re
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / 'docs' / 'troubleshooting.md'
FILES = sorted(
  x for y in ('pipelines', 'tasks', 'persoma_tf') for x in (ROOT / y).rglob('*.py')
)
# Calls that put a message on the terminal and are no `raise`.
SAID = ('parser.error', 'sys.exit', 'logger.warning', 'logger.error', 'warnings.warn')
SAID += ('_LOGGER.warning', '_LOGGER.error')
# Raised without words of their own.
WORDLESS = {
  # Another error's words.
  'pipelines/common/output_folder.py': ['JobError(str(error))'],
  'pipelines/histories/history_records.py': ['JobError(str(error))'],
  'pipelines/embeddings/embeddings_job.py': ['job.JobError(str(error))'],
  'pipelines/predictions/question_checks.py': ['job.JobError(str(error))'],
  'persoma_tf/training/batching.py': ['ValueError(said[1])'],
  # a template's own words, told behind the path of its file
  'persoma_tf/tokenizers/chat_template.py': ['jinja2.TemplateError(message)'],
  'pipelines/common/threads.py': ['NotImplementedError'],  # an abstract method
}
VARYING = '\0'


class Module:
  """What a file can say.

  Attributes:
    name: its path in the repository.
  """

  def __init__(self, name: str, source: str):
    self.name = name
    self._tree = ast.parse(source)
    self._functions = {
      node.name: node for node in self._tree.body if isinstance(node, ast.FunctionDef)
    }

  def raised(self) -> Iterator[tuple[ast.expr, list[str]]]:
    """Every `raise` with an exception, and the texts that it can have."""
    for scope in ast.walk(self._tree):
      if isinstance(scope, ast.FunctionDef):
        for node in own_nodes(scope):
          if isinstance(node, ast.Raise) and node.exc:
            yield node.exc, list(self._texts(node.exc, scope))

  def said(self) -> Iterator[str]:
    """The texts of calls in SAID."""
    for scope in ast.walk(self._tree):
      if isinstance(scope, ast.FunctionDef):
        for node in own_nodes(scope):
          if isinstance(node, ast.Call) and ast.unparse(node.func) in SAID:
            yield from self._texts(node, scope)

  def _texts(self, node, scope) -> Iterator[str]:
    """What an expression in a function can be as a text, with VARYING parts."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
      yield re.sub(r'%[sdrg]', VARYING, node.value)
    elif isinstance(node, ast.JoinedStr):
      literal = lambda x: x.value if isinstance(x, ast.Constant) else VARYING
      yield ''.join(map(literal, node.values))
    elif isinstance(node, ast.IfExp):
      yield from self._texts(node.body, scope)
      yield from self._texts(node.orelse, scope)
    elif isinstance(node, ast.Name):
      for value in assigned(node.id, scope):
        yield from self._texts(value, scope)
    elif isinstance(node, ast.Call):
      function = self._functions.get(ast.unparse(node.func))
      if function:
        for each in own_nodes(function):
          if isinstance(each, ast.Return) and each.value:
            yield from self._texts(each.value, function)
      elif node.args:
        yield from self._texts(node.args[0], scope)


def assigned(name: str, function: ast.FunctionDef) -> Iterator[ast.expr]:
  """What a function gives a variable."""
  for node in own_nodes(function):
    if isinstance(node, ast.Assign | ast.NamedExpr):
      targets = node.targets if isinstance(node, ast.Assign) else [node.target]
      if any(isinstance(x, ast.Name) and x.id == name for x in targets):
        yield node.value


def own_nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
  """The nodes of a function, without those of functions in it."""
  todo = list(function.body)
  while todo:
    node = todo.pop()
    yield node
    if not isinstance(node, ast.FunctionDef):
      todo += ast.iter_child_nodes(node)


def words(text: str) -> tuple[str, ...]:
  """The fixed parts of a message, in order; `<...>` and VARYING stand between them."""
  parts = re.split(rf'{VARYING}|<\w[^<>]*>', text)
  return tuple(' '.join(part.split()) for part in parts if part.strip())


@functools.cache
def in_code() -> dict[tuple[str, ...], str]:
  """The fixed parts of every message -> file that has it, and the text."""
  found = {}
  for file in FILES:
    module = Module(str(file.relative_to(ROOT)), file.read_text())
    texts = [*(text for _, many in module.raised() for text in many), *module.said()]
    found |= {words(text): f'{module.name}: {text}' for text in texts if words(text)}
  return found


def on_page() -> dict[tuple[str, ...], str]:
  """The fixed parts of every message in the first column of a table -> the message."""
  cells = re.findall(r'^\| (.+?) \| ', PAGE.read_text(), re.MULTILINE)
  texts = [span[1] for cell in cells for span in re.findall(r'(`+)(.+?)\1', cell)]
  return {words(text): text for text in texts}


def test_the_page_has_every_message():
  code, page = in_code(), on_page()
  assert not [code[key] for key in code.keys() - page.keys()]


def test_every_message_of_the_page_is_in_the_code():
  page = on_page()
  assert not [page[key] for key in page.keys() - in_code().keys()]


def test_no_raise_hides_its_words():
  """Else its message would be missing from the page unseen."""
  found = {}
  for file in FILES:
    module = Module(str(file.relative_to(ROOT)), file.read_text())
    without = [ast.unparse(error) for error, texts in module.raised() if not texts]
    found |= {module.name: without} if without else {}
  assert found == WORDLESS


@pytest.mark.parametrize(
  ('body', 'expected'),
  [
    ("raise E(f'{x}: no {y!r} in <file>; a < b')", [(': no', 'in', '; a < b')]),
    ("raise E('a'\n 'b') from None", [('ab',)]),
    ("text = f'no {x}'\n  raise E(text)", [('no',)]),
    ('raise told(x)', [('told of',), ('told',)]),
    ("if x:\n    raise E('one' if y else 'two')", [('one',), ('two',)]),
    ("parser.error('bad')", [('bad',)]),
    ("logger.warning('%s is %d old', x, y)", [('is', 'old')]),
  ],
)
def test_how_messages_are_found(body, expected):
  told = "def told(x):\n  if x:\n    return E(f'told of {x}')\n  return E('told')\n"
  module = Module('m.py', f'{told}def f(x, y):\n  {body}\n')
  texts = [*(text for _, many in module.raised() for text in many), *module.said()]
  assert sorted(map(words, texts)) == sorted(expected)


def main() -> None:
  """Prints what differs."""
  code, page = in_code(), on_page()
  for key in code.keys() - page.keys():
    print('lacking:', code[key].replace(VARYING, '<...>'))
  for key in page.keys() - code.keys():
    print('gone:', page[key])


if __name__ == '__main__':
  main()
