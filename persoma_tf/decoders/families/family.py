"""What a family of models has of its own in a config.json and in a GGUF file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from persoma_tf.decoders import rotary
from persoma_tf.decoders.causal_lm import LayerKind

FULL, SLIDING = 'full_attention', 'sliding_attention'  # names in `layer_types`
Settings = Mapping[str, Any]  # content of a config.json; a field that is read is there
# Meta(key, default=None) returns a field of a GGUF file, without the architecture's
# name; without a default the field must be there.
Meta = Callable[..., Any]


class Family(NamedTuple):
  """Describes how a family's files are read.

  Attributes:
    model_type: of its config.json.
    settings: function from a config.json to the fields of `causal_lm.Config` that are
      not the same for all families, with `layers` among them.
    expected: field of a config.json that changes the computation -> supported values.
    defaults: fields that the part of the text in a config.json may lack.
    tied: whether the output matrix is the embedding matrix where a config.json does not
      say it.
    norm_offset: number to add to the weights of norms in a Hugging Face folder.
    always_starts: whether a text has a start token where no file says so.
    architecture: of its GGUF files.
    fields: function (Meta, factors) from a GGUF file to the same fields as `settings`;
      `factors` are those of its tensor rope_freqs, or None. None where the files have
      the architecture of another family.
    interleaved: whether GGUF stores the two components of a rotary pair side by side.
    gguf_expected: as `expected`, of a GGUF file, which may lack the fields.
    implementation: name of transformers' class.
    settings_of_gguf: function from a GGUF file's fields to those of a config.json that
      are not the same for all families.
  """

  model_type: str
  settings: Callable[[Settings], dict[str, Any]]
  expected: Mapping[str, tuple] = {}
  defaults: Mapping[str, Any] = {}
  tied: bool = False
  norm_offset: float = 0.0
  always_starts: bool = False
  architecture: str = ''
  fields: Callable[[Meta, Any], dict[str, Any]] | None = None
  interleaved: bool = False
  gguf_expected: Mapping[str, tuple] = {}
  implementation: str = ''
  settings_of_gguf: Callable[[Meta], dict[str, Any]] = lambda meta: {}


def head_dim_of(settings: Settings) -> int:
  """Returns the width of a head by a config.json."""
  return settings.get('head_dim') or (
    settings['hidden_size'] // settings['num_attention_heads']
  )


def rotation_of(settings: Settings) -> rotary.Rotation:
  """Returns the rotation of a config.json, in the words of transformers 4 or 5."""
  rope = settings.get('rope_parameters') or {}
  base = rope.get('rope_theta') or settings.get('rope_theta') or 10_000.0
  scaling = rope or settings.get('rope_scaling') or {}
  longest = {
    'original_max_position_embeddings': settings.get('max_position_embeddings')
  }
  return rotary.scaled(base, head_dim_of(settings), {**longest, **scaling})


def layers_of(
  settings: Settings, rotation: rotary.Rotation, window: int = 0, first: int = 0
) -> tuple[LayerKind, ...]:
  """Returns the layers of a config.json with one rotation.

  Args:
    settings: the config.json.
    rotation: rotation of all layers.
    window: window of the layers that slide; 0 for none.
    first: number of the first layer that slides, where `layer_types` is missing.
  """
  numbers = range(settings['num_hidden_layers'])
  kinds = settings.get('layer_types') or [
    SLIDING if window and number >= first else FULL for number in numbers
  ]
  if SLIDING in kinds and not window:
    raise ValueError(f'layer_types has {SLIDING!r}; expected sliding_window with it')
  sizes = {FULL: 0, SLIDING: window}
  return tuple(LayerKind(rotation, sizes[kind]) for kind in kinds)


def gguf_rotation(meta: Meta, factors: Sequence[float] | None) -> rotary.Rotation:
  """Returns the rotation of a GGUF file.

  Args:
    meta: the fields.
    factors: divisors of the frequencies, the tensor rope_freqs; or None.
  """
  base, width = meta('rope.freq_base', 10_000.0), gguf_head_dim(meta)
  if factors is not None:
    return rotary.divided(base, width, factors)
  return rotary.scaled(base, width, gguf_scaling(meta))


def gguf_scaling(meta: Meta) -> dict[str, Any]:
  """Returns the scaling of a GGUF file's rotation, in the words of a config.json."""
  kind = meta('rope.scaling.type', 'linear')  # the format's default
  factor = meta('rope.scaling.factor', 0) or meta('rope.scale_linear', 0) or 1.0
  if kind == 'none' or (kind == 'linear' and factor == 1):
    return {'rope_type': 'default'}
  length = meta('rope.scaling.original_context_length', meta('context_length', 0))
  more = {'original_max_position_embeddings': length}
  if kind == 'yarn':
    more['beta_fast'] = meta('rope.scaling.yarn_beta_fast', 32.0)
    more['beta_slow'] = meta('rope.scaling.yarn_beta_slow', 1.0)
  return {'rope_type': kind, 'factor': factor, **more}


def scaling_of_v4(scaling: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the field of transformers 4 for a scaling, which it has only for others."""
  return {'rope_scaling': scaling} if scaling['rope_type'] != 'default' else {}


def gguf_head_dim(meta: Meta) -> int:
  """Returns the width of a head by a GGUF file."""
  whole = meta('embedding_length') // meta('attention.head_count')
  return meta('attention.key_length', whole)


def usual_settings(meta: Meta) -> dict[str, Any]:
  """Returns rotation and activation of most families, in the words of config.json."""
  base, scaling = meta('rope.freq_base', 10_000.0), gguf_scaling(meta)
  return {
    'hidden_act': 'silu',
    'rope_theta': base,
    **scaling_of_v4(scaling),
    'rope_parameters': {'rope_theta': base, **scaling},
  }


def gguf_layers(meta: Meta, factors: Sequence[float] | None) -> dict[str, Any]:
  """Returns the field `layers` of a GGUF file whose layers all read everything."""
  kind = LayerKind(gguf_rotation(meta, factors))
  return {'layers': (kind,) * meta('block_count')}
