"""Reads the stored examples of a question: what is asked, and the history before it.

An example is one question to one user at one time, with a record of its own in
questions/<name>/ of the histories folder.
"""

import functools
import itertools
import json
import logging
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from tasks import finished, histories, schema, shard_files
from tasks.answers.example_question import ExampleQuestion
from tasks.dataset_question import asked_about_examples
from tasks.history_columns import FEATURES
from tasks.numbered_records import NumberedRecords

logger = logging.getLogger(__name__)
_TYPES = {'bytes': tf.string, 'int64': tf.int64, 'float': tf.float32}
_READ = ('example_id', 'user_id', 'example_item', 'answer', *FEATURES)
_KINDS = {**schema.EXAMPLE, **schema.CANDIDATES, **schema.HISTORY_TEXTS}
_AT_ONCE = 1_000


def field_features(question: ExampleQuestion) -> list[str]:
  """Returns the names of the features that hold a question's own columns."""
  return [f'{schema.FIELD}{name}' for name in question.fields]


def _features(names: Iterable[str]):
  """Returns the TensorFlow features that parse fields of an example."""
  kind = lambda name: _TYPES[_KINDS.get(name, 'bytes')]
  return {
    name: tf.io.FixedLenFeature([], kind(name))
    if name in schema.SCALARS
    else tf.io.RaggedFeature(kind(name))
    for name in names
  }


def _question_files(question: ExampleQuestion, split: str) -> list[str]:
  """Lists the files of a split; raises as `read_answered` does."""
  folder = pathlib.Path(histories.data_folders().histories_dir)
  counts = json.loads((folder / 'dataset_info.json').read_text())['counts']
  examples = counts.get('examples', {})
  if split == 'validation' and examples.get(question.name, {}).get(split) == 0:
    logger.warning('%s has no examples for validation: there is none', folder)
  else:
    finished.check_examples(str(folder), question.name, split, examples)
  place = folder / 'questions' / question.name
  names = [path.name for path in place.glob('*')]
  names = shard_files.shard_files(names, [split], shard_files.HISTORY_ENDINGS)
  if not names:
    raise FileNotFoundError(f'{place}: no {split}-*.tfrecord in it')
  return [str(place / name) for name in names]


def read_answered(split: str, shuffle_files: bool, seed: int | None = None):
  """Reads the examples of the recipe's question that have an answer, for SeqIO.

  Args:
    split: name of the split, one of `schema.SPLITS`.
    shuffle_files: whether to shuffle the files and the records in them.
    seed: seed of the shuffling.

  Raises:
    FileNotFoundError: the folder has no files of this split.
    ValueError: the recipe asks about users, or the split has no examples and is
      not for validation.
  """
  files = _question_files(asked_about_examples(), split)
  records = histories.open_records(files, shuffle_files, seed)
  return records.batch(_AT_ONCE).map(_with_answer).unbatch().map(_parse)


def _is_answered(records: tf.Tensor) -> tf.Tensor:
  """Tells which of the serialized records [n] have an answer, [n] bool."""
  found = tf.io.parse_example(records, _features(['answer']))['answer']
  return found.row_lengths() > 0


def _with_answer(records):
  return tf.boolean_mask(records, _is_answered(records))


def stored_answers(split: str) -> Iterator[str]:
  """Yields the answers of the recipe's question, of a split; raises as `read_answered`.

  Args:
    split: name of the split, one of `schema.SPLITS`.
  """
  files = _question_files(asked_about_examples(), split)
  parse = lambda records: tf.io.parse_example(records, _features(['answer']))['answer']
  for answers in histories.open_records(files).batch(_AT_ONCE).map(parse):
    yield from (x.decode() for x in answers.flat_values.numpy())


def _parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
  question = asked_about_examples()
  names = [*{*_READ, question.asked_field}, *field_features(question)]
  return tf.io.parse_single_example(record, _features(names))


class AnsweredSource(histories.HistorySource):
  """Gives SeqIO the examples with an answer; the trainer enters them by index.

  Examples without an answer can only be predicted.
  """

  def __init__(self):
    """Makes the source of all splits."""
    super().__init__(read_answered)

  def records(self, split: str) -> NumberedRecords:
    """Returns the records of a split that have an answer.

    Raises:
      FileNotFoundError, ValueError: see `read_answered`; or no example has an answer.
    """
    question = asked_about_examples()
    files = tuple(_question_files(question, split))
    found = histories.load_records(files, _is_answered)
    _log_left_out(question.name, split, len(found), found.left_out)
    if found.left_out and not len(found):
      raise ValueError(
        f'question {question.name}: none of {found.left_out:,} examples in the split '
        f'{split} has an answer: expected examples to learn from'
      )
    return found

  def parse(self, record: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses a record."""
    return _parse(record)


@functools.cache
def _log_left_out(name, split, kept, left_out) -> None:
  """Logs once what is left out."""
  if left_out:
    logger.info(
      'question %s, split %s: %d examples have no answer and are left out, %d are left',
      *(name, split, left_out, kept),
    )


def asked_texts(question: ExampleQuestion) -> Iterator[tuple]:
  """Yields (items, values of the question's own columns) of all examples, once each.

  All splits are read, with their examples without an answer. The items are a tuple of
  those that the prompt names columns of, perhaps (). A missing value is None.
  """
  names, seen = field_features(question), set()
  of_items = question.asked_field if question.item_fields else None
  read = [*names, of_items] if of_items else names
  if not read:  # one prompt for all examples
    yield ((),)
    return
  parse = lambda records: tf.io.parse_example(records, _features(read))
  only = lambda found: found[0] if found else None
  for split in schema.SPLITS:
    try:
      files = _question_files(question, split)
    except (FileNotFoundError, ValueError):  # a split may be empty
      continue
    for rows in histories.open_records(files).batch(_AT_ONCE).map(parse):
      items = rows[of_items].to_list() if of_items else itertools.repeat(())
      columns = [map(only, rows[name].to_list()) for name in names]
      new = {*zip(map(tuple, items), *columns, strict=False)} - seen
      seen |= new
      yield from new


def texts_of(values: Iterable[np.ndarray]) -> list[str | None]:
  """Returns the values of a question's own columns as texts; None for missing ones."""
  return [value[0].decode() if len(value) else None for value in values]
