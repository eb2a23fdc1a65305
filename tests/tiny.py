"""A small decoder and small folders, in the formats of the real ones."""

import dataclasses
import io
import json
import pathlib

import gguf
import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from flax import traverse_util
from safetensors.numpy import load_file, save_file
from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2

from persoma_tf import decoders
from persoma_tf.testing import SMALL_RECIPE, gin_flags
from pipelines import build_histories
from pipelines.items import item_facts
from tests import movielens
from tests.causal_configs import CausalLm, gemma

RECIPE = SMALL_RECIPE
ROOT = pathlib.Path(__file__).parent
_TINY_T5 = pathlib.Path(__file__).parent / 'persoma_tf' / 'decoders/tiny_t5/v1_1'
VOCABULARY, WIDTH, LAYERS, HEADS, KV_HEADS, HIDDEN = 49_152, 16, 2, 4, 2, 24


def flags(decoder: pathlib.Path) -> list[str]:
  """What makes a command of the quickstart's recipe small."""
  return gin_flags([f'build.decoder = {str(decoder)!r}', *RECIPE])


def write_decoder(
  path: pathlib.Path,
  change=lambda writer: None,
  vocab_size: int = VOCABULARY,
  head: int = WIDTH // HEADS,
  kv_heads: int = KV_HEADS,
) -> pathlib.Path:
  """A GGUF file of llama architecture with random weights and SmolLM2's vocabulary.

  Args:
    path: of the file.
    change: may alter what is written.
    vocab_size: number of tokens.
    head: width of a head.
    kv_heads: number of heads of keys and values.
  """
  rng = np.random.default_rng(0)
  writer = gguf.GGUFWriter(str(path), 'llama')
  writer.add_block_count(LAYERS)
  writer.add_embedding_length(WIDTH)
  writer.add_feed_forward_length(HIDDEN)
  writer.add_head_count(HEADS)
  writer.add_head_count_kv(kv_heads)
  writer.add_rope_freq_base(10_000.0)
  writer.add_layer_norm_rms_eps(1e-5)
  shapes = {'token_embd': (vocab_size, WIDTH), 'output_norm': (WIDTH,)}
  wide, small = head * HEADS, head * kv_heads
  for layer in range(LAYERS):
    shapes |= {
      f'blk.{layer}.{name}': shape
      for name, shape in {
        'attn_q': (wide, WIDTH),
        'attn_k': (small, WIDTH),
        'attn_v': (small, WIDTH),
        'attn_output': (WIDTH, wide),
        'ffn_gate': (HIDDEN, WIDTH),
        'ffn_up': (HIDDEN, WIDTH),
        'ffn_down': (WIDTH, HIDDEN),
        'attn_norm': (WIDTH,),
        'ffn_norm': (WIDTH,),
      }.items()
    }
  for name, shape in shapes.items():
    values = rng.normal(0, 0.2, shape) if len(shape) == 2 else np.ones(shape)
    writer.add_tensor(f'{name}.weight', values.astype(np.float32))
  change(writer)
  finish(writer)
  return path


_GEMMA_TENSORS = {
  'attention/query/kernel': 'attn_q',
  'attention/key/kernel': 'attn_k',
  'attention/value/kernel': 'attn_v',
  'attention/out/kernel': 'attn_output',
  'gate/kernel': 'ffn_gate',
  'up/kernel': 'ffn_up',
  'down/kernel': 'ffn_down',
  'attention_norm/scale': 'attn_norm',
  'attention/query_norm/scale': 'attn_q_norm',
  'attention/key_norm/scale': 'attn_k_norm',
  'attention_out_norm/scale': 'post_attention_norm',
  'mlp_norm/scale': 'ffn_norm',
  'mlp_out_norm/scale': 'post_ffw_norm',
}


def write_gemma(
  path: pathlib.Path, decoder, change=lambda writer: None
) -> pathlib.Path:
  """A decoder of Gemma 3's architecture as GGUF; `change` may alter what is written."""
  config = decoder.module.config
  writer = gguf.GGUFWriter(str(path), 'gemma3')
  writer.add_block_count(config.num_layers)
  writer.add_embedding_length(config.d_model)
  writer.add_feed_forward_length(config.d_ff)
  writer.add_head_count(config.num_heads)
  writer.add_head_count_kv(config.num_kv_heads)
  writer.add_key_length(config.head_dim)
  writer.add_sliding_window(max(kind.window for kind in config.kinds))
  writer.add_rope_freq_base(1e6)
  writer.add_layer_norm_rms_eps(config.norm_epsilon)
  writer.add_bos_token_id(config.start_token)
  params = traverse_util.flatten_dict(decoder.params, sep='/')
  writer.add_tensor('token_embd.weight', params['embedder/embedding'])
  writer.add_tensor('output_norm.weight', params['final_norm/scale'])
  for ours, theirs in _GEMMA_TENSORS.items():
    for index, values in enumerate(params[f'layers/{ours}']):
      values = np.ascontiguousarray(values.T)
      writer.add_tensor(f'blk.{index}.{theirs}.weight', values)
  change(writer)
  finish(writer)
  return path


def random_gemma(vocab_size: int, num_local: int = 5) -> decoders.LoadedDecoder:
  """Local layers, five in files, and a global one, of random weights."""
  shape = {'vocab_size': vocab_size, 'num_heads': 4, 'num_kv_heads': 2, 'd_ff': 24}
  config = gemma(6, 16, 4, window=8, **shape, start_token=2)
  config = dataclasses.replace(config, layers=config.layers[5 - num_local :])
  module = CausalLm(config)
  params = jax.jit(module.init)(jax.random.key(0), np.zeros((1, 2), np.int32))
  params = jax.tree.map(np.asarray, params['params'])
  return decoders.LoadedDecoder('random', module, params, config.d_model, vocab_size)


def write_t5(folder: pathlib.Path, vocab_size: int) -> pathlib.Path:
  """The recorded small T5 with random embeddings of another number of tokens."""
  folder.mkdir()
  tensors = {}
  for part in _TINY_T5.glob('*.safetensors'):
    tensors |= load_file(part)
  config = json.loads((_TINY_T5 / 'config.json').read_text())
  for name in {'shared.weight', 'lm_head.weight'} & tensors.keys():
    values = np.random.default_rng(0).normal(size=(vocab_size, config['d_model']))
    tensors[name] = values.astype(np.float32)
  save_file(tensors, folder / 'model.safetensors')
  config['vocab_size'] = vocab_size
  (folder / 'config.json').write_text(json.dumps(config))
  return folder


def train_sentence_piece(**settings) -> bytes:
  """A SentencePiece BPE model of 370 pieces, with Gemma's settings or others."""
  names = ('Action', 'Comedy', 'Crime', 'Drama', 'Horror', 'Romance', 'War', 'none')
  lines = [
    f"The user likes {x}, {y} and doesn't like {x}" for x in names for y in names
  ]
  model = io.BytesIO()
  SentencePieceTrainer.train(
    sentence_iterator=iter(lines * 3),
    model_writer=model,
    minloglevel=2,
    **{
      'model_type': 'bpe',
      'vocab_size': 370,
      'byte_fallback': True,
      'normalization_rule_name': 'identity',
      'add_dummy_prefix': False,
      'remove_extra_whitespaces': False,
      'user_defined_symbols': ['\n', '▁▁', '<b>'],
      **{'pad_id': 0, 'eos_id': 1, 'bos_id': 2, 'unk_id': 3},
      **settings,
    },
  )
  return model.getvalue()


def add_sentence_piece(writer: gguf.GGUFWriter, model: bytes) -> None:
  """A SentencePiece model as Gemma's files hold theirs."""
  read = sentencepiece_model_pb2.ModelProto.FromString(model)
  control, user_defined = 3, 4
  spaced = lambda x: x.piece.replace('▁', ' ') if x.type == user_defined else x.piece
  writer.add_tokenizer_model('llama')
  writer.add_token_list([spaced(x) for x in read.pieces])
  writer.add_token_scores([x.score for x in read.pieces])
  # The unknown token counts as a control token there.
  writer.add_token_types([control if x.type == 2 else x.type for x in read.pieces])
  writer.add_eos_token_id(1)
  writer.add_unk_token_id(3)
  if not read.normalizer_spec.add_dummy_prefix:  # files without the field have it
    writer.add_add_space_prefix(False)


def finish(writer: gguf.GGUFWriter) -> None:
  """Writes what was added."""
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()


def write_embeddings(histories: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
  """An embeddings folder of the template `fields` with vectors of width 8 + 4."""
  rng = np.random.default_rng(0)
  folder.mkdir()
  items = pq.read_table(histories / 'items.parquet').num_rows
  ratings = json.loads((histories / 'dataset_info.json').read_text())['rating_values']

  def column(rows, width):
    values = pa.array(rng.normal(size=rows * width).astype(np.float32))
    return pa.FixedSizeListArray.from_arrays(values, width)

  table = pa.table({'item_index': np.arange(items), 'title_genres': column(items, 8)})
  pq.write_table(table, folder / 'embeddings.parquet')
  keys = np.array(ratings, np.float32)
  table = pa.table({'rating': keys, 'rating_text': column(len(ratings), 4)})
  pq.write_table(table, folder / 'ratings.parquet')
  ids = pq.read_table(histories / 'items.parquet')['item_id']
  info = {'template': 'fields', 'items_sha256': item_facts.items_checksum(ids)}
  (folder / 'encoder_info.json').write_text(json.dumps(info))
  made_from = json.loads((histories / 'COMPLETED').read_text())['fingerprint']
  completed = {'fingerprint': 'x', 'settings': {'histories': made_from}}
  (folder / 'COMPLETED').write_text(json.dumps(completed))
  return folder


def write_folders(folder: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
  """(histories, embeddings) of a generated data set."""
  data = movielens.write(folder)
  flags = ['--max_history=30', '--train_fraction=0.6', '--validation_fraction=0.1']
  build_histories.run(
    [
      f'--ratings={data}/ratings.csv',
      f'--movies={data}/movies.csv',
      f'--output_dir={folder}/histories',
      *flags,
    ]
  )
  return folder / 'histories', write_embeddings(
    folder / 'histories', folder / 'embeddings'
  )
