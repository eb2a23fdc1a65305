"""Users of the report: their history, their label, their answer."""

import numpy as np
from markupsafe import Markup

from pipelines.report import run_numbers
from pipelines.report.markup import join, table
from pipelines.report.run_results import RunResults

_SHOWN_EXAMPLES = 4  # of right and of wrong answers
_SHOWN_ITEMS = 10


def section(results: RunResults) -> Markup:
  """Cards of users whose answer is right, then of others, drawn by seed."""
  parsed = np.array([row['parse_ok'] for row in results.rows], bool)
  right = parsed & (results.users.truth == results.answers['persoma']).all(axis=1)
  pieces = []
  for title, among in (('Right', right), ('Wrong', ~right)):
    chosen = run_numbers.sample_positions(among, _SHOWN_EXAMPLES, results.run['seed'])
    heading = f'{title}: {len(chosen)} of {int(among.sum())}'
    pieces.append(Markup('<h3>{}</h3>').format(heading))
    pieces += (_example(results, at) for at in chosen)
  return join(pieces, '\n')


def _example(results, at):
  row, items, stars = (
    results.rows[at],
    results.users.items[at],
    results.users.samples[at][1],
  )
  shown = slice(_SHOWN_ITEMS)
  newest = zip(items[shown].tolist(), stars[shown].tolist(), strict=True)
  half = len(results.info['genres'])
  truth, said = results.users.truth[at], results.answers['persoma'][at]
  lines = []
  for name, own, other in (('label', truth, said), ('answer', said, truth)):
    for side, part in (('liked', slice(0, half)), ('disliked', slice(half, None))):
      listed = _names(results.info['genres'], own[part], other[part], name == 'answer')
      lines.append((f'{name}, {side}', listed))
  lines += [('text', Markup('<code>{}</code>').format(row['text']))]
  lines += [('log probability', f'{row["log_prob"]:.3f} nats')]
  terms = join(Markup('<dt>{}</dt><dd>{}</dd>\n').format(*line) for line in lines)
  heading = (
    f'{results.users.totals[at]} ratings, {row["history_length"]} shown to the model'
    f'{"" if row["parse_ok"] else "; the text could not be parsed"}'
  )
  titled = [(results.titles[item], f'{rating:g}') for item, rating in newest]
  history = table(('newest titles', 'stars'), titled)
  return Markup(
    '<article><h4>User {}</h4><p class="soft">{}</p>\n<dl>{}</dl>\n{}</article>'
  ).format(row['user_id'], heading, terms, history)


def _names(genres, own, other, is_answer):
  """The genres of one side, each marked by whether the other list has it."""
  missing = Markup('<del>{}</del>' if is_answer else '{}')
  marks = {True: Markup('<ins>{}</ins>'), False: missing}
  rows = np.flatnonzero(own).tolist()
  return join((marks[bool(other[i])].format(genres[i]) for i in rows), ', ') or 'none'
