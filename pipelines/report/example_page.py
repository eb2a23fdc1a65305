"""What the pages of all questions about examples show: examples, losses, settings."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.report import choice_plots, run_numbers, run_plots
from pipelines.report.example_results import ExampleResults
from pipelines.report.score_lines import ranked_methods, shown_scores

_SHOWN_ITEMS = 5


class ShownExample(NamedTuple):
  """Holds an example as the page's card shows it.

  Attributes:
    example_id: name of the example.
    user_id: name of the user.
    prompt: the text that was asked.
    right: the answer in the data.
    answer: the model's answer; None if the text could not be parsed.
    probabilities: (option, probability) as far as the model tells them.
    draft: the draft's option; None without one.
    text: the answer as the model wrote it.
    total: length of the history before sampling.
    shown: number of interactions that the model was shown.
    newest: (title, value) of the newest interactions.
  """

  example_id: str
  user_id: str
  prompt: str
  right: str
  answer: str | None
  probabilities: Sequence[tuple[str, float]]
  draft: str | None
  text: str
  total: int
  shown: int | None
  newest: Sequence[tuple[str, str]]


def describe_example(
  results: ExampleResults,
  at: int,
  answer: str | None,
  probabilities: Sequence[tuple[str, float]] = (),
) -> ShownExample:
  """Returns an example as a page's card shows it.

  Args:
    results: results of the run.
    at: place of the example.
    answer: the model's answer; None if the text could not be parsed.
    probabilities: (option, probability) as far as the model tells them.
  """
  examples, row = results.answered.examples, results.answered.rows[at]
  samples = examples.samples
  items, values = samples.items[at][:_SHOWN_ITEMS], samples.values[at][:_SHOWN_ITEMS]
  return ShownExample(
    example_id=samples.example_ids[at],
    user_id=samples.user_ids[at],
    prompt=results.prompts.write(
      examples.asked_items(at),
      {name: (*texts, None)[0] for name, texts in examples.fields[at].items()},
    ),
    right=examples.answers[at],
    answer=answer,
    probabilities=probabilities,
    draft=row.get('draft_answer'),
    text=row['text'],
    total=int(examples.totals[at]),
    shown=row['history_length'],
    newest=[
      (results.titles[item], f'{value:g}')
      for item, value in zip(items.tolist(), values.tolist(), strict=True)
    ],
  )


def score_table(results: ExampleResults, score: str) -> dict[str, Any]:
  """Returns figure, titles and rows of scores that all have an interval.

  Args:
    results: results of the run.
    score: name of the score that methods are ordered by.
  """
  shown, titles, rows = shown_scores(score), ['method'], []
  for title in shown:
    titles += [title, '95 % interval']
  for name, row in ranked_methods(results.methods, score):
    cells = [(row[x], _interval(row, x)) for x in shown.values()]
    rows.append([name, *(part for cell in cells for part in cell)])
  plot = choice_plots.plot_choice_scores(results.methods, score)
  return {'plot': plot, 'titles': titles, 'rows': rows}


def _interval(row, score):
  low = row.get(f'{score}_low')
  return float('nan') if low is None else (low, row[f'{score}_high'])


def describe_losses(results: ExampleResults) -> dict[str, Any]:
  """Returns the figure and the rows of the training's losses."""
  log = results.training.get('metrics.jsonl', '')
  losses = run_numbers.read_losses(log.splitlines())
  return {
    'plot': run_plots.plot_losses(losses) if losses else None,
    'rows': [(x.step, x.stage, x.split, x.metric, x.value) for x in losses],
  }


def example_settings(results: ExampleResults, **words: Any) -> list[tuple[str, str]]:
  """Returns (setting, value) of the run.

  Args:
    results: results of the run.
    **words: words of the question that only its kind has.
  """
  info, run, covered = results.info, results.run, results.coverage
  settings = {
    'question': results.question.name,
    'prompt': results.question.prompt,
    **words,
    'model': run['model']['model_id'],
    'decoder': run['model'].get('decoder', 'not known'),
    'operands of products in the training': run['model'].get('dtype', 'not known'),
    **{f'answers: {x}': y for x, y in results.predictions.get('decoding', {}).items()},
    'examples scored': f'{covered.examples_scored:,} of '
    f'{covered.examples_in_split:,} in the split {results.split}',
    'examples without an answer': f'{covered.examples_without_answer:,}',
    'examples rejected': f'{covered.rejects:,}',
    **{name: info[name] for name in ('sampler', 'max_history') if name in info},
    'seed of the histories': info.get('seed', 'not known'),
    **{
      f'{method}: {name}': value
      for method, row in results.methods.items()
      for name, value in row.get('settings', {}).items()
    },
    **{f'version of {name}': value for name, value in run['versions'].items()},
  }
  return [(name, str(value)) for name, value in settings.items()]
