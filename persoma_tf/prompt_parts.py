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
    ValueError: no list has this name, the decoder has no chat template, or a list is
      wrong, see `check_order`.
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
  if not isinstance(order, tuple | list):
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
    if not part or not (isinstance(part, str) or _are_ids(part)):
      raise ValueError(
        f'build.prompt_order has the part {part!r}: expected a name or a text'
      )
    near = isinstance(part, str) and part.isupper() and part not in NAMES
    if near and (found := difflib.get_close_matches(part, NAMES, n=1)):
      raise ValueError(
        f'build.prompt_order has the part {part!r}: did you mean {found[0]}?'
      )


def check_model(
  parts: Sequence[Part], has_user: bool, has_draft: bool, vocab_size: int
) -> None:
  """Checks that parts fit a model.

  Args:
    parts: names and token ids.
    has_user: whether the adapter makes user tokens or task tokens.
    has_draft: whether it makes a draft.
    vocab_size: number of tokens of the decoder.

  Raises:
    ValueError: soft tokens stand nowhere, a text is not encoded, or an id is unknown.
  """
  for name, made in ((USER, has_user), (DRAFT, has_draft)):
    if made and name not in parts:
      raise ValueError(
        f'build.prompt_order has no {name}, which this adapter makes: expected it in '
        'the list'
      )
  for part in parts:
    if isinstance(part, str) and part not in NAMES:
      raise ValueError(
        f'build.prompt_order has the text {part!r} without its tokens: '
        'answer_vocabulary.bind_order must be called before build'
      )
    if not isinstance(part, str) and not all(0 <= x < vocab_size for x in part):
      raise ValueError(
        f'build.prompt_order has the tokens {part}: expected ids below {vocab_size}'
      )


def as_tokens(parts: Sequence, encode: Callable[[str], list[int]]) -> tuple[Part, ...]:
  """Encodes the texts among parts.

  Args:
    parts: names, texts and tuples of token ids.
    encode: function from a text to its token ids, in which signs of control tokens
      become these tokens.

  Returns:
    Names and tuples of token ids.

  Raises:
    ValueError: a text has no tokens in this vocabulary.
  """
  found: list[Any] = []
  for part in parts:
    text = part
    if isinstance(part, str) and part not in NAMES:
      # Behind soft tokens or a prompt, which ends a line, a text goes on.
      part = continued(encode, ['\n'], part) if found else encode(part)
    if not part:
      raise ValueError(
        f'build.prompt_order has the text {text!r}, which the vocabulary has no tokens '
        'for: leave it out'
      )
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


def _are_ids(part):
  is_id = lambda x: isinstance(x, int) and not isinstance(x, bool) and x >= 0
  return isinstance(part, tuple | list) and all(map(is_id, part))
