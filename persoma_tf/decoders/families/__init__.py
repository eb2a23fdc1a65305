"""Families of decoder-only models: how the files of each describe `causal_lm.Config`.

A family is one module with a `Family`; this list makes it known.
"""

from persoma_tf.decoders.families import gemma3, llama, mistral, qwen2, qwen3, smollm3
from persoma_tf.decoders.families.family import Family

FAMILIES: tuple[Family, ...] = (
  *(llama.FAMILY, mistral.FAMILY, qwen2.FAMILY, qwen3.FAMILY, smollm3.FAMILY),
  gemma3.FAMILY,
)
# `model_type` of a config.json -> family.
BY_MODEL_TYPE = {family.model_type: family for family in FAMILIES}
# `general.architecture` of a GGUF file -> family.
BY_ARCHITECTURE = {family.architecture: family for family in FAMILIES if family.fields}
