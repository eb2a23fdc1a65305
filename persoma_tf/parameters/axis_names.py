"""Names the axes of parameters, so that a partitioner can shard them over devices."""

import re
from collections.abc import Mapping

from flax import traverse_util
from flax.linen import partitioning

# T5X's names for the two axes of a decoder kernel: (input, output).
_INTO_HEADS, _INTO_MLP = ('embed', 'joined_kv'), ('embed', 'mlp')
_KERNELS = {
  **dict.fromkeys(('query', 'key', 'value'), _INTO_HEADS),
  'out': _INTO_HEADS[::-1],
  **dict.fromkeys(('gate', 'up', 'wi', 'wi_0', 'wi_1'), _INTO_MLP),
  **dict.fromkeys(('down', 'wo'), _INTO_MLP[::-1]),
  **dict.fromkeys(('output', 'logits_dense'), ('embed', 'vocab')),
}
# Names of axes that T5X's rules do not shard; the names within a parameter must differ.
WHOLE = ('unsharded_0', 'unsharded_1', 'unsharded_2', 'unsharded_3')


def axis_names_of(params: Mapping) -> dict:
  """Names the axes of all parameters, as T5X's `params_axes`.

  Kernels, embeddings and LoRA matrices of the decoder get T5X's own axis names. The
  first axis of stacked layers, all vectors and the adapter get names of axes that are
  not sharded.
  """
  axes = {}
  for path, x in traverse_util.flatten_dict(params).items():
    inner, names = _KERNELS.get(path[-2]), ()
    if path[0] == 'decoder' and path[-1] == 'embedding':
      names = ('vocab', 'embed')
    elif path[0] == 'decoder' and inner and re.fullmatch('kernel|lora_[ab]', path[-1]):
      rank = 'unsharded_3'
      names = {'kernel': inner, 'lora_a': (inner[0], rank), 'lora_b': (rank, inner[1])}
      names = names[path[-1]]
    names = (*WHOLE[: x.ndim - len(names)], *names)
    key = (*path[:-1], f'{path[-1]}_axes')
    axes[key] = partitioning.AxisMetadata(names=names)
  return traverse_util.unflatten_dict(axes)
