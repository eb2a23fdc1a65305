"""The default type of products, by what /proc/cpuinfo says."""

import pytest

from persoma_tf import operand_types

FLAGS = {
  'fpu avx512f avx512_bf16 amx_bf16 amx_tile': 'bfloat16',
  'fpu avx512f avx512_bf16': 'bfloat16',
  'fpu amx_bf16': 'bfloat16',
  'fpu avx2 avx512f': 'float32',
  'fpu avx512_bf16_of_another_kind': 'float32',
}


@pytest.mark.parametrize('flags', FLAGS)
def test_the_processor_decides(tmp_path, flags):
  file = tmp_path / 'cpuinfo'
  file.write_text(f'processor\t: 0\nmodel name\t: amx_bf16\nflags\t\t: {flags}\n\n')
  assert operand_types.chosen_type('auto', file) == FLAGS[flags]
  for name in operand_types.TYPES:
    assert operand_types.chosen_type(name, file) == name


def test_no_known_processor(tmp_path):
  file = tmp_path / 'cpuinfo'
  assert operand_types.chosen_type('auto', file) == 'float32'
  file.write_text('Features\t: fp asimd bf16\n')  # ARM: not measured
  assert operand_types.chosen_type('auto', file) == 'float32'
