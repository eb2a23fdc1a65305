"""A run that answered examples: what its scores of any kind are made from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.common import storage
from pipelines.report.example_results import AnsweredExamples, read_answered_examples
from pipelines.report.run_results import read_titles
from tasks.answers.example_question import ExampleQuestion
from tasks.prompt_texts import PromptTexts


class ExampleRun(NamedTuple):
  """Holds a run that answered examples.

  Attributes:
    question: words of the question.
    answered: the examples that are scored.
    histories_dir: finished folder of the histories.
    embeddings_dir: finished folder of the item vectors, for methods that read them; ''
      leaves these out.
    run_info: `run` of `metrics.json`, with `seed` and `bootstrap_samples`.
    shown: fields of `ExampleResults` that follow from the run alone.
  """

  question: ExampleQuestion
  answered: AnsweredExamples
  histories_dir: str
  embeddings_dir: str
  run_info: Mapping[str, Any]
  shown: Mapping[str, Any]


def read_example_run(
  question: ExampleQuestion,
  histories_dir: str,
  predictions_dir: str,
  predicted: Mapping[str, Any],
  run_info: Mapping[str, Any],
  training: Mapping[str, str],
  embeddings_dir: str = '',
) -> ExampleRun:
  """Reads the examples and their predictions.

  Args:
    question: words of the question.
    histories_dir: finished folder of the histories.
    predictions_dir: finished folder of the predictions.
    predicted: settings in `COMPLETED` of the predictions.
    run_info: `run` of `metrics.json`, with `seed` and `bootstrap_samples`.
    training: files of the model's training, as `read_training` returns them.
    embeddings_dir: finished folder of the item vectors, for methods that read them; ''
      leaves these out.

  Raises:
    JobError: an example has no prediction and was not rejected, or none has an answer.
  """
  answered = read_answered_examples(question, histories_dir, predictions_dir, predicted)
  shown = {
    'question': question,
    'answered': answered,
    'prompts': PromptTexts(question, histories_dir),
    'titles': read_titles(histories_dir),
    'info': storage.read_json(f'{histories_dir}/dataset_info.json'),
    'split': predicted['split'],
    'run': run_info,
    'training': training,
  }
  return ExampleRun(question, answered, histories_dir, embeddings_dir, run_info, shown)
