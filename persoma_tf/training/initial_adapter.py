"""Initializes the adapter from the decoder's embeddings and from training data."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from persoma_tf import decoders
from persoma_tf.adapters.value_regression import ValueRegression
from persoma_tf.answer_template import SLOT, Template
from persoma_tf.model import Batch, Persoma, adapter_inputs

Words = Sequence[Sequence[int]]

_PENALTY = 0.003


def init_adapter(
  model: Persoma,
  decoder: decoders.LoadedDecoder,
  batch: Batch,
  words: Words | Mapping[str, Words] | None,
  seed: int,
  option_vectors: np.ndarray | None = None,
) -> dict:
  """Initializes adapter parameters from the decoder's embeddings and training data.

  Args:
    model: the model.
    decoder: decoder of the model.
    batch: training examples; `Standardize` is fitted to their interactions.
    words: token ids of each of the W answer words. The word vectors of a `Template`
      start as the mean embedding of a word's tokens. None without a template; of
      several questions those of each that has a draft, by name.
    seed: seed of the random parameters.
    option_vectors: [G, H'] vectors of the texts of the options; None without
      `OptionQueries.text_width`.

  Returns:
    The parameter tree under 'adapter'; {} for a model without soft tokens.
  """
  history, mask = (np.asarray(batch[f'history_{x}']) for x in ('embeddings', 'mask'))
  # One program: operation by operation, each would be compiled on its own.
  initial = jax.jit(model.adapter.init)
  first = {x: y if y is None else y[:1] for x, y in adapter_inputs(batch).items()}
  params = initial(jax.random.key(seed), **first).get('params', {})
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
    if factors := getattr(model.adapter.draft, 'num_factors', 0):
      # Only products of factors mean anything, so they are not centred.
      end = batch['asked_embeddings'].shape[-1]
      params['standardize']['mean'][end - factors : end] = 0
    params['standardize']['scale'] = np.full(vectors.shape[-1], vectors.std(0).mean())
    sample = decoder.embed(np.arange(0, vocabulary, -(-vocabulary // 4096)))
    params['token_rms'] = np.sqrt(np.mean(sample**2))
  place = params.get('draft' if model.adapter.draft else 'readout')
  if isinstance(words, Mapping):
    for draft in filter(None, model.adapter.draft.drafts):
      _start_words(place[draft.name], draft, decoder, words[draft.name])
      _start_components(place[draft.name], draft, batch, params['standardize'])
  elif words is not None:
    _start_words(place, model.adapter.template, decoder, words)
    _start_components(place, model.adapter.draft, batch, params['standardize'])
  if option_vectors is not None:
    gates = params['draft']['text_gates']
    gates['vectors'], gates['centre'] = option_vectors, option_vectors.mean(0)
  return jax.tree.map(lambda x: np.asarray(x, np.float32), params)


def _start_words(
  place: dict, template: Template, decoder: decoders.LoadedDecoder, words: Words
) -> None:
  """Sets the words and the fixed tokens of a template to the decoder's embeddings."""
  fixed = [token for token in template.layout if token != SLOT]
  tokens = decoder.embed(np.concatenate(words).astype(np.int32))
  ends = np.cumsum([len(ids) for ids in words])
  own = np.split(tokens, ends[:-1])
  # A vocabulary may have no token for a word, such as a space of no width.
  place['words'] = np.stack([x.sum(0) / max(len(x), 1) for x in own])
  if fixed:
    place['template'] = decoder.embed(np.array(fixed, np.int32))


def _start_components(place, draft, batch, standardize) -> None:
  """Sets the components that `ValueRegression` reads of the texts of items."""
  if not isinstance(draft, ValueRegression):
    return
  read = lambda name: np.asarray(batch[name])
  size = read('asked_embeddings').shape[-1]
  size -= draft.num_statistics + draft.num_factors
  centred = lambda x: ((x - standardize['mean']) / standardize['scale'])[:, :size]
  vectors = centred(read('history_embeddings')[read('history_mask') > 0])
  found = [principal_components(vectors, draft.num_components)]
  if draft.num_categories:
    flat = lambda x: x.reshape(-1, x.shape[-1])
    known, categories = map(flat, map(read, ('known_embeddings', 'known_categories')))
    found.append(category_directions(centred(known), categories))
  place['components'] = np.hstack(found)


def principal_components(vectors: np.ndarray, number: int) -> np.ndarray:
  """Returns the directions [H', C] in which vectors vary most.

  They are orthogonal and of equal length, so that the components of a vector have the
  length 1 on average. Directions beyond H' are 0.

  Args:
    vectors: [n, H'] centred vectors.
    number: C.
  """
  found = np.linalg.eigh(vectors.T @ vectors)[1][:, ::-1][:, :number]
  return _of_length_one(vectors, np.pad(found, ((0, 0), (0, number - found.shape[1]))))


def category_directions(vectors: np.ndarray, categories: np.ndarray) -> np.ndarray:
  """Returns the directions [H', G] that tell categories of items, by least squares.

  What they tell of a vector has the length 1 on average.

  Args:
    vectors: [n, H'] centred vectors of items.
    categories: [n, G], 1 where an item has the category.
  """
  squares = vectors.T @ vectors
  # A small penalty, relative to the mean variance, for directions that hardly vary.
  squares += np.eye(len(squares)) * (_PENALTY * squares.trace() / len(squares))
  targets = vectors.T @ (categories - categories.mean(0))
  return _of_length_one(vectors, np.linalg.solve(squares, targets))


def _of_length_one(vectors, directions):
  length = np.linalg.norm(vectors @ directions, axis=1).mean()
  return directions / max(length, 1e-6)
