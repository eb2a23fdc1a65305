r"""Runs the missing cells of a study, and writes its page.

    python -m pipelines.study run studies/quick.yaml \
      [--data=ml-100k] [--output_dir=runs/studies/quick] [--dry_run]

Each finished cell is a JSON file in `<output_dir>/results` and is not run again. The
same command resumes with the missing cells. Machines that share the folder each take
cells that no other machine is running. A failed cell is listed, and the next run tries
it again.
"""

import argparse
import signal
import sys
from collections.abc import Sequence

from persoma_tf import process
from persoma_tf.addresses import local_argument


def main(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the study.

  Raises:
    SystemExit: 1 if a cell failed; a message if the study cannot be read.
  """
  process.prepare()
  flags = _parser().parse_args(argv)
  signal.signal(
    signal.SIGTERM, lambda *_: sys.exit('stopped; run the same command to resume')
  )
  from pipelines.study import study_run  # imports the jobs, with Beam and JAX

  study_run.run_study(flags.study, flags.data, flags.output_dir, flags.dry_run)


def _parser():
  parser = argparse.ArgumentParser(
    prog='python -m pipelines.study',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  run = parser.add_subparsers(required=True, metavar='run').add_parser(
    'run', help='run the missing cells of a study file'
  )
  run.add_argument('study', type=local_argument, help='YAML file of the study')
  run.add_argument(
    '--data',
    default='',
    type=local_argument,
    help="ml-100k, a folder or a dataset file; replaces the study file's data",
  )
  run.add_argument(
    '--output_dir',
    default='',
    type=local_argument,
    help='folder to write (default: runs/studies/<study>)',
  )
  run.add_argument(
    '--dry_run', action='store_true', help='list the cells without running them'
  )
  return parser


if __name__ == '__main__':
  main()
