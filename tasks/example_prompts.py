"""Writes the task prompts of questions about examples, each about its own example."""

import functools
import pathlib

from tasks import question_examples, text_history, vocabularies
from tasks.answers.example_question import ExampleQuestion
from tasks.histories import data_folders
from tasks.prompt_texts import PromptTexts


class ExamplePrompts(PromptTexts):
  """Writes prompts as token ids."""

  def __init__(
    self,
    question: ExampleQuestion,
    histories_dir: str,
    vocabulary: vocabularies.DecoderVocabulary,
    follows_text: bool = False,
  ):
    """Reads the columns that the prompt names.

    Args:
      question: question of the recipe.
      histories_dir: finished folder of `pipelines.build_histories`.
      vocabulary: vocabulary of the decoder.
      follows_text: whether the prompt follows the history as text, line by line.

    Raises:
      ValueError: the items lack a column that the prompt names.
    """
    super().__init__(question, histories_dir)
    self._vocabulary, self._follows_text = vocabulary, follows_text
    self.tokens = functools.lru_cache(1 << 17)(self._tokens)

  def _tokens(self, items, fields=()) -> list[int]:
    """Returns the token ids of a prompt; `tokens` keeps those of the last examples."""
    text = self.write(items, dict(zip(self.question.fields, fields, strict=True)))
    vocabulary = self._vocabulary
    ids = (
      text_history.after_line(vocabulary, text)
      if self._follows_text
      else vocabulary.encode(text)
    )
    vocabulary.notice_unknown(text, ids)
    return ids


def longest_example_prompt(question: ExampleQuestion, follows_text: bool) -> int:
  """Returns the number of tokens of the longest prompt among all stored examples.

  The examples of all splits are read, and every distinct prompt is encoded once: a
  prompt that names only columns of items costs as much as its distinct items.

  Args:
    question: question of the recipe.
    follows_text: whether the prompt follows the history as text.
  """
  folder = data_folders().histories_dir
  state = (pathlib.Path(folder) / 'dataset_info.json').stat().st_mtime_ns
  vocabulary = vocabularies.task_vocabulary()
  return _longest(question, folder, vocabulary, follows_text, state)


@functools.cache
def _longest(question, folder, vocabulary, follows_text, _):
  loaded = vocabularies.load_vocabulary(vocabulary)
  prompts = ExamplePrompts(question, folder, loaded, follows_text)
  texts = lambda values: tuple(x if x is None else x.decode() for x in values)
  asked = question_examples.asked_texts(question)
  size = lambda items, *values: len(prompts.tokens(items, texts(values)))
  # An example that lacks its items is refused where it is asked.
  sizes = (size(*x) for x in asked if x[0] or not question.item_fields)
  return max(sizes, default=0)


def load_example_prompts(
  question: ExampleQuestion, follows_text: bool
) -> ExamplePrompts:
  """Loads the prompts of the recipe's folder and vocabulary once per process."""
  folder, vocabulary = data_folders().histories_dir, vocabularies.task_vocabulary()
  state = (pathlib.Path(folder) / 'items.parquet').stat().st_mtime_ns
  return _load_prompts(question, folder, vocabulary, follows_text, state)


@functools.cache
def _load_prompts(question, folder, vocabulary, follows_text, _):
  loaded = vocabularies.load_vocabulary(vocabulary)
  return ExamplePrompts(question, folder, loaded, follows_text)
