"""What the model is asked, how it should answer, and how an answer is read back.

The answer's form is UEM's (arXiv 2401.04858): 'The user likes A, B and doesn't
like C'. Separators, order (best first) and the word for an empty side are ours.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

TASK = 'movielens_genre_prediction_v1'
TASK_PROMPT = '\nGenres:\n'
NONE = 'none'
# An answer of three genres on each side, None where a genre stands.
ANSWER_PARTS = (
  *('The user likes', None, ',', None, ',', None),
  *(" and doesn't like", None, ',', None, ',', None),
)
_ANSWER = re.compile(r"The user likes (.+) and doesn't like (.+)", re.DOTALL)


class Answer(NamedTuple):
  """A parsed answer; `ok` is False where the text had another form or names."""

  liked: tuple[str, ...] = ()
  disliked: tuple[str, ...] = ()
  ok: bool = False


def search_query(genres: Sequence[str]) -> str:
  """What the task asks for as words to search for: all that an answer may name."""
  return ' '.join(genres)


def answer_text(liked: Sequence[str], disliked: Sequence[str]) -> str:
  """The target text of a label, best genre first on both sides."""
  listed = lambda names: ', '.join(names) or NONE
  return f"The user likes {listed(liked)} and doesn't like {listed(disliked)}"


def parse_answer(text: str, genres: Sequence[str]) -> Answer:
  """Reads an answer back.

  Args:
    text: what the language model wrote.
    genres: every known genre name.

  Returns:
    The named genres without repeats, in the order of the text. Unknown names are
    dropped, and `ok` is False where there was one or the form did not match.
  """
  match = _ANSWER.fullmatch(text.strip().rstrip('.'))
  if not match:
    return Answer()
  known, ok, sides = set(genres), True, []
  for side in match.groups():
    names = [name.strip() for name in side.split(',')]
    if names == [NONE]:
      names = []
    ok = ok and all(name in known for name in names)
    sides.append(tuple(dict.fromkeys(name for name in names if name in known)))
  return Answer(*sides, ok)


def answer_row(
  user_id: str, text: str, log_prob: float, history_length: int, genres: Sequence[str]
) -> dict[str, Any]:
  """A user's answer as a row of the prediction table, without the columns of the run.

  Args:
    user_id: whose answer it is.
    text: what the language model wrote.
    log_prob: of the text, nats.
    history_length: how many interactions the model was shown.
    genres: every known genre name.
  """
  answer = parse_answer(text, genres)
  return {
    'user_id': user_id,
    'predicted_liked': list(answer.liked),
    'predicted_disliked': list(answer.disliked),
    'text': text,
    'log_prob': float(log_prob),
    'parse_ok': answer.ok,
    'history_length': history_length,
  }
