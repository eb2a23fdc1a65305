"""The page of a run that answered in free words: scores, gains, some of the texts."""

import numpy as np

from pipelines.report.example_page import (
  describe_example,
  describe_losses,
  example_settings,
  score_table,
)
from pipelines.report.run_page import whole_files
from pipelines.report.templates import fill_template
from pipelines.report.text_scoring import SCORE, TextResults
from tasks import text_metrics

_SHOWN_EXAMPLES = 5
_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def render_text_page(results: TextResults) -> str:
  """Returns the page; the same results give the same text."""
  return fill_template(
    'text_page.html',
    results=results,
    scores=score_table(results, SCORE),
    gains=_gains(results),
    losses=describe_losses(results),
    examples=_choose_shown(results),
    examples_are='The texts with the highest and the lowest ROUGE-L',
    settings=example_settings(results, max_tokens=results.question.max_tokens),
    files=whole_files(results),
  )


def _gains(results):
  """Returns (control, share of users who gain, quantiles of the gain) of each."""
  means = {
    name: text_metrics.user_means(own[SCORE], results.answered.users)
    for name, own in results.scores.items()
  }
  ours, rows = means.pop('persoma'), []
  for name, theirs in means.items():
    gain = ours - theirs
    rows.append([name, float((gain > 0).mean()), *np.quantile(gain, _QUANTILES)])
  titles = [f'{share:.0%} of users below' for share in _QUANTILES[1:-1]]
  return {
    'titles': ['control', 'users who gain', 'least', *titles, 'most'],
    'rows': rows,
  }


def _choose_shown(results):
  """Returns (title, number of examples, some of them): the best and the worst texts."""
  values = results.scores['persoma'][SCORE]
  order, total = np.argsort(-values, kind='stable'), len(values)
  best = order[:_SHOWN_EXAMPLES]
  worst = order[max(_SHOWN_EXAMPLES, total - _SHOWN_EXAMPLES) :][::-1]
  written = [row['answer'] for row in results.answered.rows]
  return [
    (title, total, [describe_example(results, x, written[x]) for x in rows.tolist()])
    for title, rows in (('Best', best), ('Worst', worst))
  ]
