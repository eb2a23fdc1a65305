"""Initializes the adapter from the decoder's embeddings and from training data."""

from collections.abc import Sequence

import jax
import numpy as np

from persoma_tf import decoders
from persoma_tf.answer_template import SLOT
from persoma_tf.model import Batch, Persoma


def init_adapter(
  model: Persoma,
  decoder: decoders.LoadedDecoder,
  batch: Batch,
  words: Sequence[Sequence[int]] | None,
  seed: int,
  option_vectors: np.ndarray | None = None,
) -> dict:
  """Initializes adapter parameters from the decoder's embeddings and training data.

  Args:
    model: the model.
    decoder: decoder of the model.
    batch: training examples; `Standardize` is fitted to their interactions.
    words: token ids of each of the W answer words. The word vectors of a `Template`
      start as the mean embedding of a word's tokens. None without a template.
    seed: seed of the random parameters.
    option_vectors: [G, H'] vectors of the texts of the options; None without
      `OptionQueries.text_width`.

  Returns:
    The parameter tree under 'adapter'.
  """
  history, mask = (np.asarray(batch[f'history_{x}']) for x in ('embeddings', 'mask'))
  # One program: operation by operation, each would be compiled on its own.
  initial = jax.jit(model.adapter.init)
  asked = batch.get('asked_embeddings')
  more = () if asked is None else (None, None, asked[:1])
  params = initial(jax.random.key(seed), history[:1], mask[:1], *more)['params']
  params = jax.tree.map(np.asarray, params)
  rng, vocabulary = np.random.default_rng(seed), decoder.vocab_size
  if 'task_tokens' in params:  # start as random tokens of low, thus frequent, ids
    size = len(params['task_tokens'])
    params['task_tokens'] = decoder.embed(
      rng.integers(min(5_000, vocabulary), size=size)
    )
  if 'standardize' in params:
    vectors = history[mask > 0]
    # One scale for all components: components of low variance must not be amplified.
    params['standardize']['mean'] = vectors.mean(0)
    params['standardize']['scale'] = np.full(vectors.shape[-1], vectors.std(0).mean())
    sample = decoder.embed(np.arange(0, vocabulary, -(-vocabulary // 4096)))
    params['token_rms'] = np.sqrt(np.mean(sample**2))
  if words is not None:
    template = model.adapter.template
    place = params['draft' if model.adapter.draft else 'readout']
    fixed = [token for token in template.layout if token != SLOT]
    tokens = decoder.embed(np.concatenate(words))
    ends = np.cumsum([len(ids) for ids in words])
    place['words'] = np.stack([x.mean(0) for x in np.split(tokens, ends[:-1])])
    place['template'] = decoder.embed(np.array(fixed, np.int32))
  if option_vectors is not None:
    gates = params['draft']['text_gates']
    gates['vectors'], gates['centre'] = option_vectors, option_vectors.mean(0)
  return jax.tree.map(lambda x: np.asarray(x, np.float32), params)
