"""Lists of the parts that stand before an answer."""

import re

import pytest

from persoma_tf import prompt_parts
from persoma_tf.prompt_parts import DRAFT, PROMPT, USER
from persoma_tf.tokenizers.chat_template import ChatTemplate

CHAT = ChatTemplate('<s>[INST] {{ messages[0].content }} [/INST]', {}, 'x')


def words(text):
  """Token ids of a tokenizer that puts a space before whatever it encodes."""
  return [ord(x) for x in f' {text}'.replace('<s>', '\1')]


def test_names_of_lists():
  assert prompt_parts.as_texts('soft_first') == (USER, DRAFT, PROMPT)
  assert prompt_parts.as_texts('prompt_first') == (PROMPT, USER, DRAFT)
  chat = ('<s>[INST] ', USER, DRAFT, PROMPT, ' [/INST]')
  assert prompt_parts.as_texts('chat', CHAT) == chat
  bare = CHAT._replace(source='{{ messages[0].content }}')
  assert prompt_parts.as_texts('chat', bare) == (USER, DRAFT, PROMPT)


@pytest.mark.parametrize(
  ('order', 'message'),
  [
    (
      'soft',
      "build.prompt_order='soft': expected one of ['soft_first', ",
    ),
    ('chat', "build.prompt_order='chat': the decoder's files have no chat template"),
    ((USER, DRAFT), "['USER', 'DRAFT']: expected PROMPT and USER, DRAFT or both"),
    ((PROMPT, 'a text'), "['PROMPT']: expected PROMPT and USER"),
    ((PROMPT, USER, PROMPT), 'each once'),
    ((PROMPT, USER, 3), 'has the part 3: expected a name or a text'),
    ((PROMPT, USER, ''), "has the part '': expected a name or a text"),
    ((PROMPT, USER, (1.5,)), 'has the part (1.5,)'),
    ((PROMPT, USER, (True,)), 'has the part (True,)'),
    ((PROMPT, USER, (-5,)), 'has the part (-5,)'),
    (3, 'build.prompt_order=3: expected one of'),
    (None, 'build.prompt_order=None: expected one of'),
    ((PROMPT, DRAFT, 'USERS'), 'did you mean USER?'),
  ],
)
def test_wrong_lists(order, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    prompt_parts.as_texts(order)


def test_texts_that_look_like_names():
  order = ('user', USER, 'Prompt', PROMPT, '<|user|>', 'INST', 'User: ')
  assert prompt_parts.as_texts(order) == order


def test_a_text_behind_another_part_goes_on():
  parts = ('<s>[', USER, PROMPT, ']', (5, 6))
  assert prompt_parts.as_tokens(parts, words) == (
    (ord(' '), 1, ord('[')),
    *(USER, PROMPT, (ord(']'),), (5, 6)),
  )


@pytest.mark.parametrize(
  ('parts', 'message'),
  [
    ((USER, PROMPT), 'has no DRAFT, which this adapter makes'),
    ((DRAFT, PROMPT), 'has no USER, which this adapter makes'),
    ((USER, DRAFT, PROMPT, '!'), "has the text '!' without its tokens"),
    ((USER, DRAFT, PROMPT, (3, 9)), 'has the tokens (3, 9): expected ids below 9'),
  ],
)
def test_parts_that_do_not_fit_the_model(parts, message):
  with pytest.raises(ValueError, match=re.escape(message)):
    prompt_parts.check_model(parts, True, True, 9)
  prompt_parts.check_model((USER, PROMPT, (8,)), True, False, 9)


def test_a_text_without_tokens():
  with pytest.raises(ValueError, match=r"the text '\\n', which the vocabulary has no"):
    prompt_parts.as_tokens((USER, PROMPT, '\n'), lambda text: [])


def test_the_decoders_own_start_token_stands_once():
  parts = ((1, 5), USER, PROMPT, (1,))
  assert prompt_parts.without_start(parts, 1) == ((5,), USER, PROMPT, (1,))
  assert prompt_parts.without_start(((1,), USER, PROMPT), 1) == (USER, PROMPT)
  for start in (None, 2):
    assert prompt_parts.without_start(parts, start) == parts
  assert prompt_parts.without_start((USER, PROMPT), 1) == (USER, PROMPT)
