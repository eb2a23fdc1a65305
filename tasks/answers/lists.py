"""Defines the question about a user that is answered with two lists of names.

A `Question` holds everything here that differs between data sets. The question of
MovieLens has the form of UEM's answers (arXiv 2401.04858): 'The user likes A, B and
doesn't like C'. The separators, the order (best first) and the word for an empty side
are our own choice.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from persoma_tf.answer_form import Options


class Answer(NamedTuple):
  """Holds a parsed answer.

  Attributes:
    liked: names of the liked genres, in the order of the text.
    disliked: names of the disliked genres, in the order of the text.
    ok: False if the text had another form or an unknown name.
  """

  liked: tuple[str, ...] = ()
  disliked: tuple[str, ...] = ()
  ok: bool = False


@dataclasses.dataclass(frozen=True)
class Question:
  """Holds the words of a task: its prompt and the form of its answers.

  Attributes:
    name: name of the SeqIO task, ends in a version, such as '_v1'; the value of column
      `task` of the predictions.
    prompt: task prompt, which follows the history.
    likes: first words of an answer, before the liked genres.
    dislikes: words between the two sides, starting with a space.
    none: word for a side without genres.
    most: maximum number of genres on a side of an answer.

  Raises:
    ValueError: the parser could not read answers with these words.
  """

  KIND: ClassVar[str] = 'lists'

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
    """Returns the parts of an answer with `most` genres per side, None for a genre."""
    listed = (None, *(',', None) * (self.most - 1))
    return (self.likes, *listed, self.dislikes, *listed)

  def options(self, num_genres: int) -> Options:
    """Returns which of the words can fill the slots of an answer.

    Args:
      num_genres: G. The words are all genres as liked, all as disliked, and `none`.
    """
    return Options((0,) * self.most + (num_genres,) * self.most, num_genres)

  def draft(
    self, words: Sequence[int], genres: Sequence[str]
  ) -> tuple[list[str], list[str]]:
    """Returns the liked and disliked genres that the words in the slots name.

    Args:
      words: [2 * most] index of the word in each slot; see `options`.
      genres: names of all genres.
    """
    size = len(genres)
    sides = words[: self.most], [word - size for word in words[self.most :]]
    named = lambda side: [genres[word] for word in side if 0 <= word < size]
    return named(sides[0]), named(sides[1])

  def task(self, kind: str) -> str:
    """Returns the name of a task of the question: 'x_text_v1' for 'x_v1' and 'text'."""
    stem, version = self.name.rsplit('_', 1)
    return f'{stem}_{kind}_{version}'

  def answer(self, liked: Sequence[str], disliked: Sequence[str]) -> str:
    """Writes the target text of a label.

    Args:
      liked: names of the liked genres, best first.
      disliked: names of the disliked genres, worst first.
    """
    listed = lambda names: ', '.join(names) or self.none
    return f'{self.likes} {listed(liked)}{self.dislikes} {listed(disliked)}'

  def parse(self, text: str, genres: Iterable[str]) -> Answer:
    """Parses an answer.

    Args:
      text: text that the language model wrote.
      genres: names of all genres.

    Returns:
      Answer with the named genres without repeats, in the order of the text. Unknown
      names are dropped; `ok` is then False, as it is for a text of another form.
    """
    form = f'{re.escape(self.likes)} (.+){re.escape(self.dislikes)} (.+)'
    match = re.fullmatch(form, text.strip().rstrip('.'), re.DOTALL)
    known, ok, sides = set(genres), True, []
    for side in match.groups() if match else ():
      names = [name.strip() for name in side.split(',')]
      names = [] if names == [self.none] else names
      ok = ok and all(name in known for name in names)
      sides.append(tuple(dict.fromkeys(name for name in names if name in known)))
    return Answer(*sides, ok) if match else Answer()

  def row(
    self,
    user_id: str,
    text: str,
    log_prob: float,
    history_length: int,
    genres: Iterable[str],
    draft: tuple[Sequence[str], Sequence[str]] = ((), ()),
  ) -> dict[str, Any]:
    """Returns a user's row of the prediction table, without the columns of the run.

    Args:
      user_id: id of the user.
      text: text that the language model wrote.
      log_prob: log probability of the text, nats.
      history_length: number of interactions that the model saw.
      genres: names of all genres.
      draft: liked and disliked genres that the soft prompt itself names.
    """
    answer = self.parse(text, genres)
    return {
      'user_id': user_id,
      'predicted_liked': list(answer.liked),
      'predicted_disliked': list(answer.disliked),
      'draft_liked': list(draft[0]),
      'draft_disliked': list(draft[1]),
      'text': text,
      'log_prob': float(log_prob),
      'parse_ok': answer.ok,
      'history_length': history_length,
      'task': self.name,
    }

  def check(self, genres: Sequence[str], top: int) -> None:
    """Checks that the parser can read the answer for every label of a data set.

    Args:
      genres: names of all genres.
      top: maximum number of genres on a side of a label.

    Raises:
      ValueError: labels have more genres than answers, or the parser cannot read back
        a genre name.
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
