"""Defines the settings of the decoding, in a module that loads no model."""

import dataclasses

from persoma_tf.operand_types import TYPES

# Types of the decoder's weights (`persoma_tf.parameters.quantization`).
WEIGHTS = ('auto', 'float32', 'bfloat16', 'int8')
ENGINES = ('jax', 'vllm')  # what runs the decoder


@dataclasses.dataclass(frozen=True)
class Decoding:
  """Holds the settings of the decoding.

  Attributes:
    constrained: whether to write only answers that the parser can read.
    beams: number of beams; more than 1 is beam search for the most probable answer.
    temperature: divisor of the logits for drawing tokens; 0 takes the most probable
      token.
    seed: seed of the random sampler; a user's answer does not depend on other users.
    weights: type of the decoder's weights (`persoma_tf.parameters.quantization`);
      'auto' is the choice of `persoma_tf.operand_types`.
    scored_options: number of options of a choice whose probabilities the decoder tells,
      0 for none. Of more options, the draft chooses which; without a draft, all.

  Raises:
    ValueError: a setting is out of range, or drawing is combined with beam search.
  """

  constrained: bool = True
  beams: int = 1
  temperature: float = 0.0
  seed: int = 0
  weights: str = 'auto'
  scored_options: int = 32

  def __post_init__(self):
    if self.beams < 1:
      raise ValueError(f'beams={self.beams}: expected at least 1')
    if self.scored_options < 0:
      raise ValueError(f'scored_options={self.scored_options}: expected 0 or more')
    if self.temperature < 0 or (self.temperature and self.beams > 1):
      raise ValueError(
        f'temperature={self.temperature} with beams={self.beams}: expected '
        'temperature=0, or beams=1 to draw tokens'
      )
    if self.weights not in WEIGHTS:
      raise ValueError(f'weights={self.weights!r}: expected one of {WEIGHTS}')

  def check_engine(self, engine: str) -> None:
    """Checks that an engine can decode so.

    Raises:
      ValueError: vLLM cannot: it decodes greedily, with float weights.
    """
    able = {'beams': (1,), 'temperature': (0,), 'weights': ('auto', *TYPES)}
    for name, values in able.items() if engine == 'vllm' else ():
      value = getattr(self, name)
      if value not in values:
        raise ValueError(
          f'{name}={value} with engine=vllm: expected {name}='
          f'{" or ".join(map(str, values))}, or engine=jax'
        )
