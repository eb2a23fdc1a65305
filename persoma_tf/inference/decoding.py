"""How answers are written: settings that can be read without loading a model."""

import dataclasses

# Types that the decoder's weights may have (`persoma_tf.parameters.quantization`).
WEIGHTS = ('float32', 'bfloat16', 'int8')


@dataclasses.dataclass(frozen=True)
class Decoding:
  """How answers are written.

  Attributes:
    constrained: only answers that can be read back.
    beams: more than one searches for the most probable answer.
    temperature: more than 0 draws tokens instead of taking the best.
    seed: of what is drawn; a user's answer depends on no other's.
    weights: type of the decoder's weights (`persoma_tf.parameters.quantization`).

  Raises:
    ValueError: numbers that cannot be.
  """

  constrained: bool = True
  beams: int = 1
  temperature: float = 0.0
  seed: int = 0
  weights: str = 'float32'

  def __post_init__(self):
    if self.beams < 1:
      raise ValueError(f'beams={self.beams}: expected at least 1')
    if self.temperature < 0 or (self.temperature and self.beams > 1):
      raise ValueError(
        f'temperature={self.temperature} with beams={self.beams}: expected '
        'temperature=0, or beams=1 to draw tokens'
      )
    if self.weights not in WEIGHTS:
      raise ValueError(f'weights={self.weights!r}: expected one of {WEIGHTS}')
