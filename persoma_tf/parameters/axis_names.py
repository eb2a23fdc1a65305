"""Names of the parameters' axes, by which a partitioner splits them over devices."""

import re
from collections.abc import Mapping

from flax import traverse_util
from flax.linen import partitioning

# How the axes of a frozen kernel are split over devices, as T5X names them: input side,
# output side.
_INTO_HEADS, _INTO_MLP = ('embed', 'joined_kv'), ('embed', 'mlp')
_KERNELS = {
  **dict.fromkeys(('query', 'key', 'value'), _INTO_HEADS),
  'out': _INTO_HEADS[::-1],
  **dict.fromkeys(('gate', 'up', 'wi', 'wi_0', 'wi_1'), _INTO_MLP),
  **dict.fromkeys(('down', 'wo'), _INTO_MLP[::-1]),
  **dict.fromkeys(('output', 'logits_dense'), ('embed', 'vocab')),
}
# A name that T5X's rules do not split; a parameter's names must differ.
WHOLE = ('unsharded_0', 'unsharded_1', 'unsharded_2', 'unsharded_3')


def axis_names_of(params: Mapping) -> dict:
  """T5X's `params_axes`: which axis of each parameter is split over devices, by name.

  Kernels, embeddings and LoRA of the decoder have T5X's own names for them; a first
  axis of stacked layers, vectors and the adapter are not split.
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
