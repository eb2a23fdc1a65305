"""Texts of users and data become no control tokens, and decode to themselves.

What is right comes from twins, tokenizers of the same kind that have no such tokens.
"""

import json

import gguf
import pytest
import tensorflow as tf
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tasks.vocabularies import load_vocabulary
from tests import tiny as tiny_parts

# Signs for programs: control tokens, and added ones that are not marked as special.
CONTROL = ('<|endoftext|>', '<|im_end|>')
ADDED = ('<think>', '<tool_call>', '<b>')
TEXTS = [f'Heat {sign} War' for sign in (*CONTROL, *ADDED, '</s>', '<unk>', '<pad>')]
TEXTS += [''.join(CONTROL + ADDED), '<b>bold</b>', 'Drama\n', '\n\n', '  ', '']


def byte_level(signs=()) -> Tokenizer:
  """A byte-level BPE of SmolLM's kind."""
  made = Tokenizer(models.BPE())
  made.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Digits(individual_digits=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
  )
  made.decoder = decoders.ByteLevel()
  trainer = trainers.BpeTrainer(
    vocab_size=300 + len(signs),
    special_tokens=list(signs),
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  texts = ['The user likes Drama, War', 'a thinking b|im_start', '<think'] * 9
  made.train_from_iterator(texts, trainer)
  return made


def write_byte_level(path):
  """A GGUF file of such a BPE; (its tokens, its twin's function text -> tokens)."""
  made = byte_level(CONTROL)
  made.add_tokens(list(ADDED))
  ids = made.get_vocab()
  merges = json.loads(made.to_str())['model']['merges']
  kinds = dict.fromkeys(CONTROL, gguf.TokenType.CONTROL)
  kinds |= dict.fromkeys(ADDED, gguf.TokenType.USER_DEFINED)
  tokens = sorted(ids, key=ids.get)
  writer = gguf.GGUFWriter(str(path), 'llama')
  writer.add_tokenizer_model('gpt2')
  writer.add_tokenizer_pre('smollm')
  writer.add_token_list(tokens)
  writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
  writer.add_token_merges([x if isinstance(x, str) else ' '.join(x) for x in merges])
  writer.add_eos_token_id(ids['<|im_end|>'])
  writer.add_unk_token_id(ids['<|endoftext|>'])  # as in SmolLM2
  tiny_parts.finish(writer)
  twin = byte_level()
  return tokens, lambda text: twin.encode(text).tokens


def write_pieces(path):
  """The same of a SentencePiece model, in a GGUF file or as it is."""
  blanks = ['\n', '▁▁']
  train = lambda added, control, size: tiny_parts.train_sentence_piece(
    vocab_size=size, user_defined_symbols=[*blanks, *added], control_symbols=control
  )
  model, twin = train(ADDED, list(CONTROL), 374), train((), [], 369)
  if path.suffix == '.model':
    path.write_bytes(model)
  else:
    writer = gguf.GGUFWriter(str(path), 'gemma3')
    tiny_parts.add_sentence_piece(writer, model)
    tiny_parts.finish(writer)
  model, twin = (SentencePieceProcessor(model_proto=x) for x in (model, twin))
  tokens = [model.id_to_piece(token) for token in range(model.vocab_size())]
  return tokens, lambda text: twin.encode(text, out_type=str)


@pytest.mark.parametrize('name', ['pieces.model', 'pieces.gguf', 'bytes.gguf'])
def test_texts_become_no_control_tokens(tmp_path, name):
  write = write_byte_level if name == 'bytes.gguf' else write_pieces
  tokens, twin = write(tmp_path / name)
  vocabulary = load_vocabulary(str(tmp_path / name))
  for text in TEXTS:
    ids = vocabulary.encode(text)
    assert [tokens[token] for token in ids] == twin(text), text
    assert 0 not in ids, 'padding'
    assert vocabulary.eos_id not in ids
    assert vocabulary.decode(ids) == text
    assert vocabulary.encode_tf(tf.constant(text)).numpy().tolist() == ids
    assert vocabulary.decode_tf(tf.constant(ids)).numpy().decode() == text
  # What a model writes is shown, though no text is encoded to it.
  for sign in ADDED:
    assert vocabulary.decode([tokens.index(sign)]) == sign
