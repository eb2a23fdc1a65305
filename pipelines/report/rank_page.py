"""The page of a run that ranked candidates: scores, some examples, configuration."""

import numpy as np

from pipelines.report.example_page import (
  describe_example,
  describe_losses,
  example_settings,
  score_table,
)
from pipelines.report.rank_scoring import SCORE, RankResults
from pipelines.report.run_page import whole_files
from pipelines.report.templates import fill_template

_SHOWN_EXAMPLES, _SHOWN_CANDIDATES = 10, 5


def render_rank_page(results: RankResults) -> str:
  """Returns the page; the same results give the same text."""
  sizes = np.array([len(items) for items in results.answered.examples.candidates])
  return fill_template(
    'rank_page.html',
    results=results,
    scores=score_table(results, SCORE),
    sizes=(int(sizes.min()), int(sizes.max())),
    losses=describe_losses(results),
    examples=_choose_shown(results),
    examples_are=f'Examples drawn with seed {results.run["seed"]}',
    settings=example_settings(results, candidates=len(results.question.options)),
    files=whole_files(results),
  )


def _choose_shown(results):
  """Returns (title, number of examples, some of them), drawn with the run's seed."""
  total = len(results.answered.rows)
  rng = np.random.default_rng(results.run['seed'])
  chosen = rng.permutation(total)[:_SHOWN_EXAMPLES]
  return [('Drawn', total, [_shown(results, at) for at in chosen.tolist()])]


def _shown(results, at):
  """Returns an example with titles of its candidates instead of their numbers."""
  examples, row = results.answered.examples, results.answered.rows[at]
  items = examples.candidates[at].tolist()
  titles = {results.item_ids[item]: results.titles[item] for item in items}
  odds = zip(row['candidates'], row['draft_probabilities'], strict=False)
  best = [(titles[name], value) for name, value in odds][:_SHOWN_CANDIDATES]
  found = describe_example(results, at, titles.get(row['answer']), best)
  right = results.titles[items[examples.samples.answers[at]]]
  return found._replace(right=right, draft=titles.get(row['draft_answer']))
