"""Number types of the operands of a decoder's products, and the default among them.

This module imports nothing heavy, so that a job can choose before it loads a model.
"""

import pathlib

AUTO = 'auto'  # the setting that leaves the choice to `chosen_type`
TYPES = ('float32', 'bfloat16')
_CPUINFO = pathlib.Path('/proc/cpuinfo')
_UNITS = {'amx_bf16', 'avx512_bf16'}  # of x86-64 processors, for bfloat16


def chosen_type(name: str, cpuinfo: pathlib.Path = _CPUINFO) -> str:
  """Returns the type that a setting names.

  Args:
    name: the setting; 'auto' names 'bfloat16' if the processor of this machine has
      units for it, else 'float32'.
    cpuinfo: file with the features of the processor, as Linux writes it.
  """
  if name != AUTO:
    return name
  return 'bfloat16' if bfloat16_units(cpuinfo) else 'float32'


def bfloat16_units(cpuinfo: pathlib.Path = _CPUINFO) -> list[str]:
  """Returns the processor's units for bfloat16, by the names that Linux gives them.

  Args:
    cpuinfo: file with the features of the processor, as Linux writes it.
  """
  lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
  features = next((line for line in lines if line.startswith('flags')), '').split()
  return sorted(_UNITS.intersection(features))
