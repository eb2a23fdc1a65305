"""Measures what the decoder's probabilities of all options of a choice cost.

    python -m benchmarks.option_odds [--decoder=smollm2-135m-instruct]

Random soft tokens and prompts, since times do not depend on what they say. Options are
random token ids of equal lengths. Answers are greedy and kept to the options, with and
without the probabilities in turn; the least of the passes counts. Seconds are those of
the processors together, which other work changes less than those of the clock.
`temp_gb` is what the compiled program holds beside its arguments and results. Writes
`benchmarks/results/option_odds.json`.
"""

import argparse
import json
import time

import jax
import numpy as np

from benchmarks import result_files
from benchmarks.decoding import machine
from persoma_tf import decoders, operand_types
from persoma_tf.answer_template import SoftTokens
from persoma_tf.decoders import stack
from persoma_tf.inference import generate, grammar
from persoma_tf.inference.option_scores import OptionTokens
from persoma_tf.model import Persoma, Prompts
from persoma_tf.parameters import quantization
from persoma_tf.soft_prompt import LinearReadout, SoftPrompt

_SOFT, _PROMPT, _EOS, _MOST = 16, 32, 2, 32
# Name -> (number of options, tokens of each, whether a draft chooses, rows).
_CASES = {
  'two options of one token': (2, 1, True, 64),
  'five options of one token': (5, 1, True, 64),
  '32 options of 4 tokens': (32, 4, True, 16),
  '32 options of 16 tokens': (32, 16, True, 4),
  '1,000 options of 4 tokens, 32 by the draft': (1000, 4, True, 16),
  '1,000 options of 4 tokens, no draft': (1000, 4, False, 1),
}


def main() -> None:
  """Measures all cases."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--decoder', default='smollm2-135m-instruct')
  parser.add_argument('--passes', type=int, default=2)
  flags = parser.parse_args()
  decoder = decoders.load_decoder(flags.decoder)
  kind = operand_types.chosen_type('auto')
  weights = quantization.converted(decoder.params, kind)
  module, weights = stack.unrolled(decoder.module, weights)
  model = Persoma(SoftPrompt(None, LinearReadout(), decoder.width), module)
  params = jax.device_put({'adapter': {}, 'decoder': weights})
  result = {
    'command': 'python -m benchmarks.option_odds',
    'machine': machine(),
    'decoder': flags.decoder,
    'weights': kind,
    'tokens before the answer': _SOFT + _PROMPT,
    'cases': {},
  }
  for name, case in _CASES.items():
    result['cases'][name] = measure(model, params, decoder, case, flags.passes)
    print(name, result['cases'][name], flush=True)
    path = result_files.RESULTS / 'option_odds.json'
    path.write_text(json.dumps(result, indent=2) + '\n')


def measure(model, params, decoder, case, passes: int) -> dict[str, float]:
  """Returns an example's seconds without and with the probabilities, and the memory."""
  number, length, drafts, rows = case
  rng = np.random.default_rng(0)
  ids = rng.choice(decoder.vocab_size - 3, (2 * number, length)) + 3
  options = np.unique(ids, axis=0)[:number].tolist()
  phrases = [grammar.Phrase(str(option), option, 'option') for option in options]
  kept = grammar.compiled(phrases, [grammar.FormPlace({'option': grammar.END})], _EOS)
  without = generate.Task(_EOS, length + 1, kept)
  tasks = {
    'without': without,
    'with': without._replace(options=OptionTokens.of(options, _EOS, _MOST)),
  }
  shape = rows, _SOFT, decoder.width
  logits = rng.normal(size=(rows, 1, number)).astype(np.float32)
  soft = SoftTokens(
    rng.normal(0, 0.1, shape).astype(np.float32),
    np.ones(shape[:2], bool),
    logits if drafts else None,
  )
  prompts = rng.choice(decoder.vocab_size, (rows, _PROMPT)).astype(np.int32)
  arguments = jax.device_put((params, soft, Prompts(prompts, np.ones_like(prompts))))
  compiled = {
    name: jax.jit(lambda *args, task=task: generate.greedy(model, *args, task))
    .lower(*arguments)
    .compile()
    for name, task in tasks.items()
  }
  seconds = {name: [] for name in tasks}
  for _ in range(passes + 1):
    for name, run in compiled.items():
      started = time.process_time()
      jax.block_until_ready(run(*arguments))
      seconds[name].append((time.process_time() - started) / rows)
  temp = {x: y.memory_analysis().temp_size_in_bytes / 1e9 for x, y in compiled.items()}
  return {
    'rows': rows,
    **{f'cpu_seconds_{name}': round(min(x[1:]), 4) for name, x in seconds.items()},
    **{f'temp_gb_{name}': round(x, 3) for name, x in temp.items()},
  }


if __name__ == '__main__':
  main()
