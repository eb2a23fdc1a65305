"""Names the parts that stand before an answer, in their order.

A list of parts has texts, as token ids, and three names: USER for the tokens of the
user, with learned task tokens before them; DRAFT for the draft of the answer; PROMPT
for the task prompt. A model may have no user tokens or no draft: nothing stands there.
"""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from persoma_tf.tokenizers.chat_template import ChatTemplate
from persoma_tf.tokenizers.plain_text import continued

USER, DRAFT, PROMPT = 'USER', 'DRAFT', 'PROMPT'
NAMES = (USER, DRAFT, PROMPT)
# Names of lists. 'chat' has the chat template of the decoder around 'soft_first'.
ORDERS = {'soft_first': (USER, DRAFT, PROMPT), 'prompt_first': (PROMPT, USER, DRAFT)}
CHAT = 'chat'

Part = str | tuple[int, ...]  # a name, or the tokens of a text


def as_texts(order: str | Sequence, chat: ChatTemplate | None = None) -> tuple:
  """Returns the parts of an order, with texts as they are.

  Args:
    order: name of a list, or a list of names, texts and tuples of token ids.
    chat: chat template of the decoder.

  Raises:
    ValueError: the list has no such name, the decoder has no chat template, or a list
      is wrong, see `check_order`.
  """
  if isinstance(order, str) and order in ORDERS:
    return ORDERS[order]
  if order == CHAT:
    if chat is None:
      raise ValueError(
        "build.prompt_order='chat': the decoder's files have no chat template; "
        f'expected {list(ORDERS)} or a list of parts'
      )
    before, after = chat.around_message()
    return tuple(part for part in (before, *ORDERS['soft_first'], after) if part)
  check_order(order)
  return tuple(order)


def check_order(order: str | Sequence) -> None:
  """Checks a list of parts.

  Raises:
    ValueError: it is no list, it lacks PROMPT or both USER and DRAFT, a name stands
      twice in it or is mistyped, or a part is neither text nor token ids.
  """
  if isinstance(order, str):
    raise ValueError(
      f'build.prompt_order={order!r}: expected one of {[*ORDERS, CHAT]} or a list of '
      'parts'
    )
  names = [part for part in order if part in NAMES]
  if PROMPT not in names or len(names) < 2 or len(set(names)) < len(names):
    raise ValueError(
      f'build.prompt_order has the names {names}: expected PROMPT and USER, DRAFT or '
      'both, each once'
    )
  for part in order:
    ids = isinstance(part, tuple | list) and all(isinstance(x, int) for x in part)
    if not (isinstance(part, str) or ids) or not part:
      raise ValueError(
        f'build.prompt_order has the part {part!r}: expected a name or a text'
      )
    if isinstance(part, str) and part not in NAMES and part.strip().isalpha():
      near = difflib.get_close_matches(part.strip().upper(), NAMES, n=1)
      if near and (part.isupper() or near[0] == part.strip().upper()):
        raise ValueError(
          f'build.prompt_order has the part {part!r}: did you mean {near[0]}?'
        )


def as_tokens(parts: Sequence, encode: Callable[[str], list[int]]) -> tuple[Part, ...]:
  """Encodes the texts among parts.

  Args:
    parts: names, texts and tuples of token ids.
    encode: function from a text to its token ids, in which signs of control tokens
      become these tokens.
  """
  found: list[Any] = []
  for part in parts:
    if isinstance(part, str) and part not in NAMES:
      # Behind soft tokens or a prompt, which ends a line, a text goes on.
      part = continued(encode, ['\n'], part) if found else encode(part)
    found.append(part if isinstance(part, str) else tuple(part))
  return tuple(found)


def without_start(parts: Sequence[Part], start: int | None) -> tuple[Part, ...]:
  """Leaves out the start token of a chat template where the decoder puts its own.

  Args:
    parts: names and token ids.
    start: the decoder's start token; None for none.
  """
  first = parts[0]
  if isinstance(first, str) or start is None or first[0] != start:
    return tuple(parts)
  return (*((first[1:],) if first[1:] else ()), *parts[1:])
