"""Native trainer: fits the adapter of a gin recipe and checkpoints as T5X does.

    python -m persoma_tf.train --gin_file=persoma_tf/configs/runs/quickstart.gin \
      --model_dir=runs/quickstart/model \
      --histories_dir=runs/quickstart/histories \
      --embeddings_dir=runs/quickstart/embeddings [--gin.NAME=VALUE ...]

A run is a sequence of stages. It resumes from its newest checkpoint and then takes
the same steps as a run that was never stopped: the order of the users follows from the
seed, the stage and the epoch, and the stream of batches starts at any step. It resumes
only with the decoder, vocabulary, histories and embeddings that it began with.

Writes `config.gin`, `inputs.json`, `checkpoint_<step>/`, `adapter/` with its model
card, `metrics.jsonl`, TensorBoard events and, last of all, `COMPLETED`.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from persoma_tf import process, recipes
from persoma_tf.addresses import local_argument

logger = logging.getLogger('persoma_tf.train')


def main(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and the recipe, and trains."""
  process.prepare()
  bindings, arguments = recipes.bindings_of(sys.argv[1:] if argv is None else argv)
  parser = argparse.ArgumentParser(
    prog='python -m persoma_tf.train',
    description=__doc__.split('\n')[0],
    epilog=recipes.HELP,
  )
  recipes.add_gin_flag(parser, required=True)
  parser.add_argument(
    '--model_dir', required=True, type=local_argument, help='folder of the run'
  )
  recipes.add_data_flags(parser)
  parser.add_argument(
    '--overwrite', action='store_true', help='delete the folder and start again'
  )
  flags = parser.parse_args(arguments)
  import jax  # behind the flags, as is the trainer

  from persoma_tf.training import trainer

  tunables = os.environ.get('GLIBC_TUNABLES', '')
  if jax.default_backend() == 'cpu' and 'hugetlb' not in tunables:
    logger.info('GLIBC_TUNABLES=glibc.malloc.hugetlb=1 would make steps on CPU faster')
  recipes.parse_recipes(flags.gin_file, [*bindings, *recipes.data_macros(flags)])
  trainer.train(flags.model_dir, overwrite=flags.overwrite, chosen=bindings)


if __name__ == '__main__':
  main()
