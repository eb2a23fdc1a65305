"""Asks a trained model about one user at a time, such as in a notebook.

from pipelines.predictions.asker import Asker

asker = Asker('model', 'histories', 'embeddings')
reply = asker.ask('17')
print(reply)
"""

import difflib
import functools
import os
import time
import types
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common.job import JobError
from pipelines.histories.user_records import read_user_records
from pipelines.predictions.predictions_folder import check_folders
from pipelines.predictions.question_checks import check_questions, dataset_questions
from pipelines.predictions.reply import Reply
from pipelines.predictions.t5x_lines import model_questions
from tasks import interaction_texts, schema
from tasks.answers.example_question import ExampleQuestion
from tasks.history_columns import HistoryColumns
from tasks.questions import AnyQuestion


class Asker:
  """Asks one question after another; the first one loads the model.

  Attributes:
    questions: what can be asked, by name: the questions of the model and, without
      drafts, those of the histories' dataset file.
  """

  def __init__(
    self,
    model_dir: str | os.PathLike,
    histories_dir: str | os.PathLike,
    embeddings_dir: str | os.PathLike,
    decoding: Decoding = Decoding(),  # noqa: B008  frozen
    trusted: Sequence[str] = (),
    drafts: bool = True,
  ):
    """Checks the folders.

    Args:
      model_dir: finished folder of `persoma_tf.train`.
      histories_dir: folder with the histories or examples of the users.
      embeddings_dir: folder with the embeddings of the same items.
      decoding: settings of the decoding.
      trusted: modules that the model's recipe may import.
      drafts: whether soft prompts have the drafts of answers; if not, the decoder reads
        the user tokens alone, and can be asked what the model was not trained on.

    Raises:
      JobError: a folder is not finished, or they do not belong together.
    """
    folders = tuple(map(os.fspath, (model_dir, histories_dir, embeddings_dir)))
    self._model_dir, self._histories_dir, self._embeddings_dir = folders
    self._decoding, self._trusted = decoding, trusted
    names = ('model_dir', 'histories_dir', 'embeddings_dir')
    config = dict(zip(names, folders, strict=True))
    config |= {'split': 'all', 'trusted': trusted, 'drafts': drafts}
    self._config = types.SimpleNamespace(**config)
    check_folders(self._config)
    self.questions = model_questions(self._model_dir, trusted)
    if not drafts:
      stored = dataset_questions(self._histories_dir)
      self.questions = {**self.questions, **stored, **self.questions}
    self._items = pq.read_table(f'{self._histories_dir}/items.parquet')

  @functools.cached_property
  def _predictor(self):
    from tasks.predictor import Predictor  # JAX and TensorFlow

    folders = self._model_dir, self._histories_dir, self._embeddings_dir
    return Predictor(
      *folders,
      1,
      self._decoding,
      trusted=self._trusted,
      questions=[*self.questions],
      drafts=self._config.drafts,
    )

  def ask(
    self,
    user: str,
    question: str = '',
    *,
    example: str = '',
    item: str = '',
    prompt: str = '',
    shown: int = 5,
  ) -> Reply:
    """Asks about a user, of any split.

    Args:
      user: id of the user.
      question: name of the question; '' for the first one of the model.
      example: id of one of the user's examples, for a question about examples; '' for
        the newest one.
      item: id of another item to ask about than the example's, with the history before
        the example.
      prompt: other words than the question's own prompt; of a question about examples,
        a template over the same columns. The outer white space is that of the own one.
      shown: number of interactions to write as texts.

    Returns:
      The answer.

    Raises:
      JobError: there is no such user, example, item or question, the folder has no
        examples of the question, the user cannot be asked about, or nothing fills what
        the prompt names.
    """
    started = time.monotonic()
    asked = self._check_asked(question, example, item)
    check_questions(types.SimpleNamespace(**vars(self._config), questions=asked.name))
    split, record = self._find(asked, user, example, item)
    predictor = self._predictor.asking(asked.name)
    if problem := predictor.problem(record):
      raise JobError(f'user {user!r} cannot be asked about: {problem}')
    try:
      text = predictor.task_prompt(record, prompt)
    except ValueError as error:
      raise JobError(f'prompt={prompt!r}: {error}') from None
    (answer,) = predictor.predict([record], prompt)
    return Reply(
      split=split,
      prompt=text,
      history=self._texts(record, shown),
      row=answer.row,
      options=getattr(asked, 'options', ()),
      known={name: [*record[name]] for name in _KNOWN if name in record},
      soft_prompt=predictor.soft_prompts([record])[0],
      seconds=time.monotonic() - started,
    )

  def _check_asked(self, question: str, example: str, item: str) -> AnyQuestion:
    """Returns the question, after a check that the model answers it."""
    name = question or next(iter(self.questions))
    if name not in self.questions:
      known = ', '.join(self.questions)
      raise JobError(
        f'{self._model_dir} answers question {known}, not {question}: expected '
        f'question={known}, or a model that was trained on {question}'
      )
    asked = self.questions[name]
    about_examples = isinstance(asked, ExampleQuestion)
    if example and not about_examples:
      raise JobError(
        f'example={example!r}: question {name} is about users: expected no example'
      )
    if item and not (about_examples and asked.asks_item):
      raise JobError(
        f'item={item!r}: question {name} is not about items: expected no item'
      )
    return asked

  def _find(
    self, asked: AnyQuestion, user: str, example: str, item: str
  ) -> tuple[str, Mapping[str, Any]]:
    """Returns (split, record) that is to be asked about."""
    if not isinstance(asked, ExampleQuestion):
      return read_user_records(self._histories_dir, user)[0]
    kinds = asked.record_kinds
    found = read_user_records(self._histories_dir, user, kinds, asked.name)
    found.sort(key=lambda each: each[1]['example_time'][:1].tolist())
    by_id = {record['example_id']: (split, record) for split, record in found}
    if example and example not in by_id:
      raise JobError(
        f'user {user!r} has no example {example!r} of question {asked.name}: expected '
        f'one of {[*by_id][-10:]}'
      )
    split, record = by_id[example] if example else found[-1]
    if item:
      other = {'example_id': f'{user}:{item}', 'answer': []}
      record |= {**other, 'example_item': [self._item_row(item)]}
    return split, record

  def _item_row(self, item: str) -> int:
    """Returns the row of an item."""
    row = pc.index(self._items['item_id'], item).as_py()
    if row < 0:
      ids = self._items['item_id'].to_pylist()
      near = difflib.get_close_matches(item, ids, 3, 0)
      raise JobError(
        f'{self._histories_dir}/items.parquet has no item {item!r}: expected an '
        f'item_id of it, such as {", ".join(near)}'
      )
    return row

  def _texts(self, record: Mapping[str, Any], shown: int) -> list[str]:
    """Writes the newest interactions of a record."""
    from tasks import item_vectors

    columns = HistoryColumns.of_record(record).take(slice(shown))
    words = item_vectors.load_words(self._embeddings_dir)
    names = interaction_texts.item_names(self._items.take(columns.items), words)
    said = [''] * len(names)
    if len(columns.texts):
      texts = pq.read_table(f'{self._histories_dir}/{schema.EVENT_TEXTS}')
      said = interaction_texts.event_sentences(texts.take(columns.texts))
    rows = zip(names, columns.ratings.tolist(), said, strict=True)
    write = interaction_texts.interaction_sentence
    return [write(name, rating, words, text) for name, rating, text in rows]


_KNOWN = ('answer', 'liked', 'disliked')  # what the data say
