"""The decoders' tokenizers against Hugging Face's ids, in Python and in TensorFlow."""

import json
import pathlib

import gguf
import numpy as np
import pytest
import tensorflow as tf
from sentencepiece import SentencePieceProcessor

from persoma_tf import recipes
from tasks import text_history, vocabularies
from tasks.history_columns import HistoryColumns
from tasks.vocabularies import VOCABULARY, DecoderVocabulary, load_vocabulary
from tests import tiny as tiny_parts

FOLDER = pathlib.Path(__file__).parent
TEXTS = (
  "The user likes Drama, War and doesn't like none",
  *(
    '',
    ' ',
    '  two   spaces ',
    'a\n\nb',
    '▁',
    '数据 😀',
    'aaaaaaaa',
    '<s>',
  ),
)


def write_tokenizer(path, *, change=lambda writer: None, **settings):
  """A GGUF file with a tokenizer alone, and the SentencePiece model in it."""
  model = tiny_parts.train_sentence_piece(**settings)
  writer = gguf.GGUFWriter(str(path), 'gemma3')
  tiny_parts.add_sentence_piece(writer, model)
  change(writer)
  tiny_parts.finish(writer)
  return SentencePieceProcessor(model_proto=model)


@pytest.fixture(scope='module')
def vocabulary(assets):
  assets('smollm2-135m-instruct')
  return DecoderVocabulary('smollm2-135m-instruct')


@pytest.mark.assets
def test_ids_equal_hugging_face(vocabulary):
  """500 strings (benchmarks/record_smollm2_reference.py)."""
  check(vocabulary, FOLDER / 'smollm2_token_ids.json')


@pytest.mark.assets
@pytest.mark.slow
def test_gemma_ids_equal_hugging_face(assets):
  """500 strings (benchmarks/record_gemma_reference.py); downloads 238 MB."""
  assets('gemma3-270m')
  vocabulary = DecoderVocabulary('gemma3-270m')
  check(vocabulary, FOLDER / 'gemma3_token_ids.json')
  special = vocabulary.pad_id, vocabulary.eos_id, vocabulary.vocab_size
  assert special == (0, 1, 262_144)


def check(vocabulary, reference):
  """Asserts that a vocabulary makes the recorded ids, and the texts out of them."""
  rows = json.loads(reference.read_text())
  assert len(rows) == 500
  for text, ids in rows:
    assert vocabulary.encode(text) == ids, text
    assert vocabulary.decode(ids) == text


@pytest.mark.assets
def test_tensorflow_side(vocabulary):
  texts = ["The user likes War and doesn't like none", '', '数据 😀']
  for text in texts:
    ids = vocabulary.encode_tf(tf.constant(text))
    assert ids.numpy().tolist() == vocabulary.encode(text)
    assert vocabulary.decode_tf(ids).numpy().decode() == text
  ragged = vocabulary.encode_tf(tf.constant(texts))
  assert ragged.to_list() == [vocabulary.encode(text) for text in texts]


@pytest.mark.assets
def test_special_ids(vocabulary):
  assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.vocab_size) == (0, 2, 49_152)
  ids = vocabulary.encode('War')
  # The end is no text, and nothing behind it: as SentencePiece vocabularies do it.
  assert vocabulary.decode([*ids, 2, *ids]) == 'War'
  for row in ([*ids, 2, *ids], [*ids, 2, 0, 0]):
    assert vocabulary.decode_tf(tf.constant(row)).numpy().decode() == 'War'
  assert 0 not in vocabulary.encode(' '.join(map(str, np.arange(500))))
  for title in ('Heat <|endoftext|>', '<|im_end|>', '<|im_start|>user'):
    ids = vocabulary.encode(title)
    assert min(ids) > 16, 'no control token'
    assert vocabulary.decode(ids) == title


@pytest.mark.assets
def test_equality(vocabulary):
  assert vocabulary == DecoderVocabulary('smollm2-135m-instruct')
  assert vocabulary != DecoderVocabulary('other')
  assert hash(vocabulary) == hash(DecoderVocabulary('smollm2-135m-instruct'))


@pytest.mark.parametrize('settings', [{}, {'add_dummy_prefix': True}])
def test_sentence_piece_inside_gguf(tmp_path, settings):
  """The file's pieces and scores are the model that they came from."""
  expected = write_tokenizer(tmp_path / 'x.gguf', **settings)
  vocabulary = DecoderVocabulary(str(tmp_path / 'x.gguf'))
  for text in TEXTS:
    ids = vocabulary.encode(text)
    assert ids == expected.encode(text), text
    assert vocabulary.decode(ids) == expected.decode(ids), text
    assert vocabulary.encode_tf(tf.constant(text)).numpy().tolist() == ids
    if not settings:
      assert vocabulary.decode(ids) == text.replace('▁', ' ')
  assert (vocabulary.vocab_size, vocabulary.eos_id, vocabulary.unk_id) == (370, 1, 3)
  assert len(vocabulary.encode(TEXTS[0])) < len(TEXTS[0]) / 3, 'pieces are merged'


def test_what_a_file_lacks_is_what_its_format_means(tmp_path):
  """Of llama.cpp's SentencePiece files; a blank token would be read as padding."""

  def change(writer):
    for key in ('eos_token_id', 'unknown_token_id'):
      writer.kv_data[0].pop(f'tokenizer.ggml.{key}')

  settings = {'pad_id': -1, 'unk_id': 0, 'bos_id': 1, 'eos_id': 2}
  expected = write_tokenizer(tmp_path / 'x.gguf', change=change, **settings)
  vocabulary = load_vocabulary(str(tmp_path / 'x.gguf'))
  assert (vocabulary.eos_id, vocabulary.unk_id) == (expected.eos_id(), 0) == (2, 0)
  assert vocabulary.encode(TEXTS[0]) == expected.encode(TEXTS[0])


def test_files_that_are_no_models(tmp_path):
  for content in (b'', b'<!DOCTYPE html><html>'):
    path = tmp_path / f'{len(content)}.model'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='which is no SentencePiece model') as caught:
      load_vocabulary(str(path)).encode('x')
    assert str(caught.value).startswith(f'{path}: begins with {content[:20]!r}')
  with pytest.raises(ValueError, match=r'no\.model.: no such file'):
    load_vocabulary(str(tmp_path / 'no.model')).encode('x')


def test_a_model_without_an_end(tmp_path):
  path = tmp_path / 'no_end.model'
  path.write_bytes(tiny_parts.train_sentence_piece(eos_id=-1, bos_id=1, unk_id=2))
  with pytest.raises(ValueError, match=r'no_end\.model: no end-of-sequence piece'):
    load_vocabulary(str(path)).encode('x')


def test_id_zero_may_be_a_text(tmp_path):
  """The numbers of tokens are those of the tokens that a trainer was told of."""
  model = tiny_parts.train_sentence_piece(pad_id=-1, eos_id=6, bos_id=4, unk_id=5)
  expected = SentencePieceProcessor(model_proto=model)
  assert not expected.is_control(0)
  assert not expected.is_unknown(0)
  (tmp_path / 'moved.model').write_bytes(model)
  vocabulary = load_vocabulary(str(tmp_path / 'moved.model'))
  for text in TEXTS:
    assert vocabulary.encode(text) == expected.encode(text)
  assert vocabulary.decode([0, 9]) == expected.decode([0, 9])


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      lambda writer: (
        writer.kv_data[0].pop('tokenizer.ggml.model'),
        writer.add_tokenizer_model('t5'),
      ),
      r"are 't5'; expected one of \['gpt2 deepseek-r1-qwen', 'gpt2 llama",
    ),
    (
      lambda writer: (
        writer.kv_data[0].pop('tokenizer.ggml.model'),
        writer.add_tokenizer_model('gpt2'),
        writer.add_tokenizer_pre('falcon'),
      ),
      "are 'gpt2 falcon'; expected",
    ),
    (
      lambda writer: writer.kv_data[0].pop('tokenizer.ggml.scores'),
      r'no field tokenizer\.ggml\.scores$',
    ),
  ],
)
def test_other_tokenizers_are_refused(tmp_path, change, message):
  write_tokenizer(tmp_path / 'x.gguf', change=change)
  with pytest.raises(ValueError, match=message):
    DecoderVocabulary(str(tmp_path / 'x.gguf')).encode('x')


@pytest.fixture
def choose():
  """Names the vocabulary of the tasks."""
  return lambda name: recipes.bind_parameter('task_vocabulary.decoder', str(name))


def test_tasks_follow_the_vocabulary_that_is_named(choose, tmp_path, folders):
  """In one process, what is cached too."""
  assert vocabularies.task_vocabulary() == 'smollm2-135m-instruct'
  first = write_tokenizer(tmp_path / 'a.gguf')
  (tmp_path / 'b.model').write_bytes(tiny_parts.train_sentence_piece(vocab_size=340))
  second = SentencePieceProcessor(model_file=str(tmp_path / 'b.model'))
  limits = text_history.HistoryLimits(items=3, text_tokens=1000)
  shown = lambda: text_history.load_interactions(str(folders[0])).prompt(
    HistoryColumns(np.arange(2), np.array([4.0, 3.5], np.float32)), limits
  )
  texts = set()
  for name, expected in (('a.gguf', first), ('b.model', second), ('a.gguf', first)):
    choose(tmp_path / name)
    ids = expected.encode(TEXTS[0])
    assert VOCABULARY.encode(TEXTS[0]) == ids
    assert VOCABULARY.encode_tf(tf.constant(TEXTS[0])).numpy().tolist() == ids
    assert VOCABULARY.decode(ids) == TEXTS[0]
    assert VOCABULARY.decode_tf(tf.constant(ids)).numpy().decode() == TEXTS[0]
    assert VOCABULARY.vocab_size == expected.vocab_size()
    assert VOCABULARY.eos_id == 1
    texts.add(expected.decode(shown().tolist()))
  assert len(texts) == 1
  assert texts.pop().startswith('The movie ')


def test_names_that_are_no_vocabulary(choose, tmp_path):
  choose(tmp_path)
  with pytest.raises(ValueError, match='none of tokenizer'):
    VOCABULARY.encode('x')
  choose('gema3')
  with pytest.raises(ValueError, match="no decoder 'gema3'; did you mean 'gemma3"):
    VOCABULARY.encode('x')
