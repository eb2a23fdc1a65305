"""The token before every text: what files say of it, and that decoders read it first.

What is right comes from `tokenizers` and from logits that transformers computed.
"""

import dataclasses
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tokenizers import Tokenizer, models, processors

from persoma_tf import decoders
from persoma_tf.decoders import start_tokens
from tests import tiny as tiny_parts
from tests.causal_configs import CausalLm, gemma, llama

LLAMA = pathlib.Path(__file__).parent / 'tiny_llama' / 'tied'
GEMMA = pathlib.Path(__file__).parent / 'tiny_gemma'
IDS = {'<s>': 4, '<begin>': 9, 'a': 0, '</s>': 5}


@pytest.mark.parametrize(
  ('model', 'add', 'bos', 'expected'),
  [
    ('llama', None, 7, 7),  # the default of SentencePiece's files
    ('llama', None, None, 1),
    ('llama', True, 7, 7),
    ('llama', False, 7, None),
    ('gpt2', None, 7, None),  # the default of others
    ('gpt2', True, 7, 7),
    ('gpt2', False, 1, None),  # as SmolLM2
    (None, None, None, None),
  ],
)
def test_of_gguf_files(tmp_path, model, add, bos, expected):
  def change(writer):
    if model:
      writer.add_tokenizer_model(model)
    if add is not None:
      writer.add_add_bos_token(add)
    if bos is not None:
      writer.add_bos_token_id(bos)

  path = tiny_parts.write_decoder(tmp_path / 'x.gguf', change, vocab_size=20)
  assert decoders.load_decoder(str(path)).module.start_token == expected


@pytest.fixture
def folder(tmp_path):
  """Copies a model, with other settings and files of a tokenizer."""

  def make(model=LLAMA, bos=3, settings=None, template='', files=()):
    path = shutil.copytree(model, tmp_path / 'model')
    config = json.loads((path / 'config.json').read_text()) | {'bos_token_id': bos}
    (path / 'config.json').write_text(json.dumps(config))
    if settings is not None:
      (path / 'tokenizer_config.json').write_text(json.dumps(settings))
    if template:
      tokenizer = Tokenizer(models.WordLevel(IDS, 'a'))
      tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=list(IDS.items())[:2] + [('</s>', 5)]
      )
      tokenizer.save(str(path / 'tokenizer.json'))
      assert tokenizer.encode('a').ids == [IDS[x] for x in of_template(template)]
    for name in files:
      (path / name).write_bytes(b'')
    return str(path)

  return make


def of_template(template: str) -> list[str]:
  return ['a' if x == '$A' else x.split(':')[0] for x in template.split()]


@pytest.mark.parametrize(
  ('files', 'expected'),
  [
    ({}, None),
    ({'settings': {'add_bos_token': True}}, 3),
    ({'settings': {'add_bos_token': True}, 'template': '$A </s>'}, 3),
    ({'settings': {'add_bos_token': False}, 'template': '<begin> $A'}, None),
    ({'settings': {}, 'template': '<begin> $A </s>'}, 9),  # as Llama 3
    ({'template': '$A </s>'}, None),
    ({'settings': {'tokenizer_class': 'GPT2Tokenizer'}, 'template': '$A'}, None),
    ({'settings': {'tokenizer_class': 'LlamaTokenizer'}}, 3),
    ({'files': ['tokenizer.model']}, 3),
    ({'model': GEMMA}, 3),
    ({'model': GEMMA, 'settings': {'add_bos_token': False}}, None),
  ],
)
def test_of_hugging_face_folders(folder, files, expected):
  assert decoders.load_decoder(folder(**files)).module.start_token == expected


@pytest.mark.parametrize(
  ('files', 'message'),
  [
    ({'bos': None, 'settings': {'add_bos_token': True}}, 'no field bos_token_id'),
    ({'bos': 9999, 'settings': {'add_bos_token': True}}, 'token has id 9999; expected'),
    ({'template': '<s> <begin> $A'}, r'json: puts the tokens \[4, 9\] before a text'),
    ({'files': ['tokenizer.json']}, r'tokenizer\.json cannot be read as tokenizer'),
    ({'files': ['tokenizer_config.json']}, r'config\.json cannot be read as JSON'),
  ],
)
def test_start_tokens_that_are_none(folder, files, message):
  with pytest.raises(ValueError, match=message):
    decoders.load_decoder(folder(**files))


def test_a_llama_reads_it_before_the_prefix(folder):
  """The logits of a text whose first token is the start token."""
  reference = np.load(LLAMA / 'logits.npz')
  tokens, expected = reference['tokens'][0], reference['logits'][0]
  path = folder(bos=int(tokens[0]), settings={'add_bos_token': True})
  decoder = decoders.load_decoder(path)
  call = lambda method, *args: decoder.module.apply(
    {'params': decoder.wide_params}, *args, method=method
  )
  embed = lambda ids: call('embed', jnp.array(ids)[None])
  prefix, mask = embed(tokens[1:4]), jnp.ones((1, 3), bool)
  inputs = jnp.array([[0, *tokens[4:]]])
  first = prefix[0, :1], mask[0, :1]

  @jax.jit
  def run():
    whole = call('target_hidden', prefix, mask, inputs)
    shared = call('prefill', prefix[:, 1:], mask[:, 1:], 2, first)[0]
    return call('logits', whole[0]), call('logits', shared[0])

  whole, shared = run()
  np.testing.assert_allclose(whole, expected[3:], atol=1e-4)
  np.testing.assert_allclose(shared, expected[3], atol=1e-4)


def test_an_adapter_keeps_the_start_token_of_its_training():
  config = llama(1, 4, 1, vocab_size=9, num_kv_heads=1, d_ff=4)
  started = CausalLm(dataclasses.replace(config, start_token=3))
  before = start_tokens.as_trained(started, {})
  assert before.start_token is None, 'an adapter from before it was read from files'
  for token in (None, 3, 5):
    manifest = {'start_token': token}
    assert start_tokens.as_trained(started, manifest).start_token == token
  # Gemma had it at all times.
  shape = {'vocab_size': 9, 'num_heads': 1, 'num_kv_heads': 1, 'd_ff': 4}
  other = CausalLm(gemma(1, 4, 4, 8, **shape, start_token=2))
  assert start_tokens.as_trained(other, {}).start_token == 2
