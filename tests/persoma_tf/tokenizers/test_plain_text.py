"""Texts of programs and of users with SentencePiece."""

import pytest
from sentencepiece import SentencePieceProcessor

from persoma_tf.tokenizers.plain_text import read_sentence_piece
from tests import tiny


@pytest.mark.parametrize('dummy', [True, False])
def test_signs_are_tokens_in_the_texts_of_programs_alone(dummy):
  """The pieces between signs are SentencePiece's own, the space before all but once."""
  model = tiny.train_sentence_piece(add_dummy_prefix=dummy)
  pieces = SentencePieceProcessor(model_proto=model)
  tokenizer, end = read_sentence_piece(model, 'x'), pieces.piece_to_id('</s>')
  text = 'The user</s>likes </s></s>Drama'
  ids = tokenizer.encode_signs(text)
  assert ids.count(end) == 3
  assert end not in tokenizer.encode(text)
  assert end not in tokenizer.encode_signs('</ s>')
  places = [place for place, token in enumerate(ids) if token == end]
  first, second = ids[: places[0]], ids[places[0] + 1 : places[1]]
  assert places[2] == places[1] + 1
  assert first == pieces.encode('The user')
  alone = [pieces.id_to_piece(token) for token in second]
  assert ''.join(alone).replace('\N{LOWER ONE EIGHTH BLOCK}', ' ') == 'likes '
  assert tokenizer.decode(ids[places[2] + 1 :]) == 'Drama'
  assert tokenizer.encode_signs('</s>') == [end]
  assert tokenizer.encode_signs('') == []
