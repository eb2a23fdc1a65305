"""What the model is asked, how it should answer, and how an answer is read back.

All of it that differs from data set to data set is a `Question`. MovieLens's has the
form of UEM's answers (arXiv 2401.04858): 'The user likes A, B and doesn't like C'.
Separators, order (best first) and the word for an empty side are ours.

Which question a recipe asks is set by gin: `question.name`.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import gin


class Answer(NamedTuple):
  """A parsed answer; `ok` is False where the text had another form or names."""

  liked: tuple[str, ...] = ()
  disliked: tuple[str, ...] = ()
  ok: bool = False


@dataclasses.dataclass(frozen=True)
class Question:
  """The words of a task: its prompt, and the form of its answers.

  Attributes:
    name: of the SeqIO task; ends in a version, such as '_v1'. Column `task` of the
      predictions.
    prompt: the task prompt, behind the history.
    likes: what an answer begins with; liked genres follow.
    dislikes: what stands between the sides, with its space in front.
    none: the word for a side without genres.
    most: genres that an answer names on a side at most.

  Raises:
    ValueError: words that do not make an answer that can be read back.
  """

  name: str
  prompt: str
  likes: str
  dislikes: str
  none: str = 'none'
  most: int = 3

  def __post_init__(self):
    if not re.fullmatch(r'\w+_v\d+', self.name):
      self._refuse('name', 'a name with a version, such as book_subjects_v1')
    if not self.prompt:
      self._refuse('prompt', 'a text')
    if not self.likes or self.likes != self.likes.strip():
      self._refuse('likes', "words without outer spaces, such as 'The user likes'")
    if not self.dislikes.strip() or self.dislikes != f' {self.dislikes.strip()}':
      self._refuse('dislikes', "words after exactly one space, such as ' and avoids'")
    if not self.none or self.none != self.none.strip() or ',' in self.none:
      self._refuse('none', "a word without outer spaces and commas, such as 'none'")
    if self.most < 1:
      self._refuse('most', 'at least 1')

  def _refuse(self, field, expected):
    value = getattr(self, field)
    raise ValueError(f'Question {self.name!r}: {field}={value!r}: expected {expected}')

  @property
  def parts(self) -> tuple[str | None, ...]:
    """An answer of `most` genres on each side, None where a genre stands."""
    listed = (None, *(',', None) * (self.most - 1))
    return (self.likes, *listed, self.dislikes, *listed)

  def task(self, kind: str) -> str:
    """The name of one of its SeqIO tasks, such as 'movielens_text_v1' for 'text'."""
    stem, version = self.name.rsplit('_', 1)
    return f'{stem}_{kind}_{version}'

  def answer(self, liked: Sequence[str], disliked: Sequence[str]) -> str:
    """The target text of a label, best genre first on both sides."""
    listed = lambda names: ', '.join(names) or self.none
    return f'{self.likes} {listed(liked)}{self.dislikes} {listed(disliked)}'

  def parse(self, text: str, genres: Iterable[str]) -> Answer:
    """Reads an answer back.

    Args:
      text: what the language model wrote.
      genres: every known genre name.

    Returns:
      The named genres without repeats, in the order of the text. Unknown names are
      dropped, and `ok` is False where there was one or the form did not match.
    """
    likes, dislikes = re.escape(self.likes), re.escape(self.dislikes)
    form = f'{likes} (.+){dislikes} (.+)'
    match = re.fullmatch(form, text.strip().rstrip('.'), re.DOTALL)
    if not match:
      return Answer()
    known, ok, sides = set(genres), True, []
    for side in match.groups():
      names = [name.strip() for name in side.split(',')]
      if names == [self.none]:
        names = []
      ok = ok and all(name in known for name in names)
      sides.append(tuple(dict.fromkeys(name for name in names if name in known)))
    return Answer(*sides, ok)

  def row(
    self,
    user_id: str,
    text: str,
    log_prob: float,
    history_length: int,
    genres: Iterable[str],
  ) -> dict[str, Any]:
    """A user's answer as a row of the prediction table, without the run's columns.

    Args:
      user_id: whose answer it is.
      text: what the language model wrote.
      log_prob: of the text, nats.
      history_length: how many interactions the model was shown.
      genres: every known genre name.
    """
    answer = self.parse(text, genres)
    return {
      'user_id': user_id,
      'predicted_liked': list(answer.liked),
      'predicted_disliked': list(answer.disliked),
      'text': text,
      'log_prob': float(log_prob),
      'parse_ok': answer.ok,
      'history_length': history_length,
      'task': self.name,
    }

  def check(self, genres: Sequence[str], top: int) -> None:
    """Every label of a data set can be written and read back.

    Args:
      genres: every genre name.
      top: genres that the label rule names on a side at most.

    Raises:
      ValueError: it cannot; says which genre or number is in the way.
    """
    if top > self.most:
      raise ValueError(
        f'the label rule names up to {top} genres on a side, but answers to '
        f'question {self.name} have room for most={self.most}: make the histories with '
        f'--label_top={self.most}, or ask a Question with most={top}'
      )
    for name in genres:
      text = self.answer([name], [name])
      if self.parse(text, genres) != ((name,), (name,), True):
        raise ValueError(
          f'genre {name!r} cannot be read back from {text!r}: a name must not have '
          'commas, outer spaces or a full stop at its end, and must not be '
          f'{self.none!r}'
        )


MOVIELENS = Question(
  name='movielens_genre_prediction_v1',
  prompt='\nGenres:\n',
  likes='The user likes',
  dislikes=" and doesn't like",
)
TASK_PROMPT = MOVIELENS.prompt
_known: dict[str, Question] = {}


def add_question(question: Question) -> None:
  """Makes a question known by its name.

  Raises:
    ValueError: the name is that of another one.
  """
  if _known.setdefault(question.name, question) != question:
    raise ValueError(
      f'question {question.name}: another question with this name is already registered'
    )


@gin.configurable
def question(name: str = MOVIELENS.name) -> Question:
  """The question of a recipe, by its name.

  Raises:
    ValueError: there is none of this name.
  """
  if name not in _known:
    raise ValueError(
      f'question.name={name!r}: expected one of {sorted(_known)}; for another '
      'question, the recipe must import the module that registers it'
    )
  return _known[name]


def asked_question() -> Question:
  """The question that gin names, and MovieLens's where it names none."""
  try:
    gin.query_parameter('question.name')
  except ValueError:
    # Not called: config.gin would then name what the recipe does not, and a run that
    # was begun before there was a choice could not go on.
    return MOVIELENS
  return question()


def question_of_config(config: str) -> Question:
  """The question of a model; clears gin.

  Args:
    config: text of its `config.gin`. What it imports is imported, which registers the
      question.

  Raises:
    ValueError: nothing that could be imported registers the question.
  """
  gin.clear_config()
  gin.parse_config(config, skip_unknown=True)
  return asked_question()


def search_query(genres: Sequence[str]) -> str:
  """What the task asks for as words to search for: all that an answer may name."""
  return ' '.join(genres)


add_question(MOVIELENS)
