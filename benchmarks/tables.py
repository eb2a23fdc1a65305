"""Tables of README.md and docs/ from `benchmarks/results`: `make tables`.

    python -m benchmarks.tables [--check]

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; what is between them
is written anew from the results. `--check` writes nothing and fails where a page
differs, which a test does, too.
"""

import argparse
import re
import sys
from collections.abc import Callable

from benchmarks import item_question_tables, option_tables
from benchmarks.result_files import PROBE, RESULTS, ROOT, SETS, SIZES, markdown, read
from pipelines import study_report
from pipelines.report import score_lines

PAGES = ('README.md', 'docs/quality.md', 'docs/speed.md', 'docs/cloud.md')
_BLOCK = re.compile(r'(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)', re.DOTALL)
# Method of benchmarks.quality -> what it is.
METHODS = {
  'rule_on_sample': 'label rule on the same interactions (bound)',
  'options_lora': 'option queries, LoRA of rank 8 in the second stage',
  'options': 'option queries, frozen decoder',
  'perceiver_lora': 'perceiver, LoRA of rank 8 in the second stage',
  'perceiver': 'perceiver, frozen decoder',
  'perceiver_3000_steps': 'the same with twice the steps in the first stage',
  'transformer': 'transformer, frozen decoder',
  'mlp': 'MLP, frozen decoder',
  'linear_probe': PROBE,
  'logistic_regression': 'logistic regression on pooled vectors',
  'nearest_users': 'vote of the nearest training users',
  'constant': 'best constant answer',
  'counting': 'counting',
  'uem': "UEM's module, frozen decoder",
  'text_prompt': 'the history as text, trained task tokens',
}
PARTS = {
  'perceiver': 'the whole',
  'no_statistics': 'without the history statistics beside the slots',
  'whole_histories': 'trained on whole histories, no sub-histories',
  'prompt_first': 'the task prompt before the soft tokens, not behind them',
  'lm_only': 'language-model loss alone, plain soft tokens in the span of the words',
  'item_warmup': 'the same, half of the time on the item task (item → genres, title)',
  'template_lm_only': 'language-model loss alone, soft tokens laid out as an answer',
}


def scores() -> str:
  """F1 of every method on both data sets, mean over the seeds."""
  means = {data: read(f'quality_{data}')['means'] for data in SETS}
  columns = [(data, size) for data in SETS for size in SIZES]
  rows = [
    [what, *(_short(means[data][size].get(method)) for data, size in columns)]
    for method, what in METHODS.items()
    if any(method in means[data][size] for data, size in columns)
  ]
  return markdown(['method', *(f'{data}, {size}' for data, size in columns)], rows)


def _short(found):
  """0.417 (3) of a mean over three seeds, 0.608 of what needs none."""
  if found is None:
    return 'not run'
  if not isinstance(found, dict):
    return f'{found:.3f}'
  return f'{found["f1"]:.3f} ({found["seeds"]})'


def quality(data: str) -> str:
  """F1, spread and share of the bound of every method on one data set."""
  means = read(f'quality_{data}')['means']
  headers = ['method', 'seeds']
  for size in SIZES:
    headers += [size.replace('=', ' = '), 'spread', 'of the bound']
  rows = []
  for method, what in METHODS.items():
    found = [means[size].get(method) for size in SIZES]
    runs = next((x for x in found if isinstance(x, dict)), None)
    if found == [None, None]:
      continue
    seeds = str(runs['seeds']) if runs else ''
    rows.append([what, seeds, *(text for x in found for text in _long(x))])
  return markdown(headers, rows)


def _long(found):
  if not isinstance(found, dict):
    return ['not run' if found is None else f'{found:.3f}', '', '']
  spread = f'{found["spread"]:.3f}' if found['seeds'] > 1 else ''
  return [f'{found["f1"]:.3f}', spread, f'{found["of_bound"]:.2f}']


def _seed_0(method):
  cells = read('quality_ml-100k')['cells']
  return {
    cell['N']: cell
    for cell in cells
    if (cell['method'], cell['seed']) == (method, 0) and cell['sampler'] == 'recency'
  }


def parts() -> str:
  """The recipe with parts left out, seed 0 of ML-100K."""
  rows = []
  for method, what in PARTS.items():
    if not (found := _seed_0(method)):
      continue
    seconds = next(iter(found.values()))['train_processor_seconds']
    values = [f'{found[size]["f1"]["model"]:.3f}' for size in (50, 200)]
    rows.append([what, *values, f'{seconds} s'])
  return markdown(['recipe', 'N = 50', 'N = 200', 'processor time'], rows)


def curve() -> str:
  """F1 against examples of the first stage, seed 0 of ML-100K."""
  names = {375: 'perceiver_375_steps', 750: 'perceiver_750_steps', 1500: 'perceiver'}
  names |= {3000: 'perceiver_3000_steps', 6000: 'perceiver_6000_steps'}
  rows = []
  for steps, name in names.items():
    if found := _seed_0(name):
      values = [f'{found[size]["f1"]["model"]:.3f}' for size in (50, 200)]
      seconds = found[50]['train_processor_seconds']
      rows.append([f'{steps:,}', f'{64 * steps:,}', *values, f'{seconds} s'])
  headers = ['steps', 'examples', 'N = 50', 'N = 200', 'processor time']
  return markdown(headers, rows)


def quickstart() -> str:
  """What the quickstart prints."""
  report = read('quickstart_ml-100k')
  users = report['methods']['persoma']['users']
  lines = score_lines.scores_as_text(
    report['methods'], (users, users, 0), 'test', report.get('better_baseline')
  )
  last = (
    'prediction table: runs/quickstart/predictions',
    'report: runs/quickstart/report/report.html',
  )
  return '\n'.join(['```', lines.rstrip(), *last, '```', ''])


def histories() -> str:
  """Time and memory of the histories job against libraries for data frames."""
  results = read('histories')['results']
  contenders = list(dict.fromkeys(row['contender'] for row in results))
  names = {'persoma': 'PERSOMA', 'persoma, 2 processes': 'in 2 processes'}
  rows = []
  for size in sorted({row['rows'] for row in results}):
    own = {row['contender']: row for row in results if row['rows'] == size}
    cells = [_took(own[name]) for name in contenders]
    rows.append([f'{size // 1_000_000} million', *cells])
  return markdown(['rows', *(names.get(x, x) for x in contenders)], rows)


def _took(row):
  seconds = row['seconds']
  shown = f'{seconds:.0f}' if seconds >= 9.5 else f'{seconds:.1f}'
  return f'{shown} s, {row["peak_memory_gb"]:.1f} GB'


def engines() -> str:
  """Seconds of all jobs on every engine, and what a worker imports."""
  imports, rows, names = 'imports of a worker', [], {}
  for about, row in read('engines')['jobs'].items():
    names |= dict.fromkeys(name for name in row if name != imports)
    cells = [
      f'{row[name]:.0f} s' if row[name] >= 9.5 else f'{row[name]} s' for name in names
    ]
    rows.append([f'`{about}`', *cells, f'{row[imports]["all"]:.1f} s'])
  return markdown(['job', *names, imports], rows)


_SERVED = {
  'jax': 'ours',
  'vllm': '`--engine=vllm`',
  'bare_vllm': 'vLLM alone, the same soft prompts',
  'transformers': 'transformers, the same soft prompts',
  'text, N=10': 'vLLM, the history as text, N = 10',
  'text, N=50': 'vLLM, the history as text, N = 50',
}
_KINDS = [f'{x}, {y}' for y in ('float32', 'bfloat16') for x in ('free', 'kept')]


def serving(show: Callable[[dict, str], str]) -> str:
  """A cell of each engine and kind of answers, where it was measured."""
  content = read('serving')
  rows = []
  for engine, what in _SERVED.items():
    names = [f'{engine}, {kind}' for kind in _KINDS]
    cells = [show(content, x) if x in content['rows'] else '' for x in names]
    rows.append([what, *cells])
  return markdown(['', *(x.replace('kept', 'kept to the form') for x in _KINDS)], rows)


def _users_a_second(content, name):
  return f'{content["rows"][name]["users_a_second"]:.3g}'


def _answers(content, name):
  f1, same = content['rows'][name].get('f1'), content['same_answers'].get(name)
  return '' if f1 is None else f'{f1:.3f}' + (f' ({same})' if same else '')


def study(name: str) -> str:
  """Scores of a study's cells, as its own page has them."""
  return study_report.as_markdown(study_report.read_cells(RESULTS / 'studies' / name))


TABLES: dict[str, Callable[[], str]] = {
  'scores': scores,
  'quality-ml-100k': lambda: quality('ml-100k'),
  'quality-ml-latest-small': lambda: quality('ml-latest-small'),
  **option_tables.TABLES,
  **item_question_tables.TABLES,
  'parts': parts,
  'curve': curve,
  'quickstart': quickstart,
  'histories': histories,
  'engines': engines,
  'serving': lambda: serving(_users_a_second),
  'serving-answers': lambda: serving(_answers),
  'study-quick': lambda: study('quick'),
  'study-paper-axes': lambda: study('paper_axes'),
}


def filled(text: str) -> str:
  """A page with its tables as the results have them.

  Raises:
    KeyError: it names a table that there is not.
  """
  return _BLOCK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def main() -> None:
  """Writes the pages, or compares them."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--check', action='store_true', help='write nothing')
  check = parser.parse_args().check
  stale = []
  for name in PAGES:
    text = (ROOT / name).read_text()
    if filled(text) != text:
      stale.append(name)
      if not check:
        (ROOT / name).write_text(filled(text))
  if check and stale:
    sys.exit(f'error: other than benchmarks/results: {stale}; `make tables` mends it')


if __name__ == '__main__':
  main()
