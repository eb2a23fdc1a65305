"""Jobs of a benchmark that trains the draft of one question and reads its answers."""

import json
import pathlib
import re

import yaml

from benchmarks.quality import run
from persoma_tf.inference.decoding_settings import Decoding
from pipelines.common import tfrecord
from pipelines.histories import history_records
from pipelines.report.asked_examples import ReadExamples, read_asked_examples
from pipelines.report.asked_question import questions_of
from tasks.predictor import Predictor

# Trains the draft alone, anew: what a run took that was cut is not known.
DRAFT_ALONE = '--overwrite', '--gin.train.stages=[@histories/Stage()]'


def prepare(histories: pathlib.Path, embeddings: pathlib.Path, about: dict) -> None:
  """Builds the histories of a dataset file, and the vectors if there are none yet."""
  histories.parent.mkdir(parents=True, exist_ok=True)
  file = histories.with_suffix('.yaml')
  file.write_text(yaml.safe_dump(about, sort_keys=False))
  run('pipelines.build_histories', f'--dataset={file}', f'--output_dir={histories}')
  # All cells of a set have the same items.
  if not (embeddings / 'COMPLETED').exists():
    folders = f'--histories_dir={histories}', f'--output_dir={embeddings}'
    run('pipelines.embed_items', *folders)


def train(
  model: pathlib.Path,
  recipe: str,
  folders: tuple[pathlib.Path, pathlib.Path],
  seed: int,
  *more: str,
) -> dict:
  """Trains, or goes on; returns the processor seconds and the steps of each stage.

  Args:
    model: folder for the model.
    recipe: gin file.
    folders: histories and vectors.
    seed: seed of the training.
    *more: other flags of the trainer.
  """
  histories, embeddings = folders
  seconds = run(
    'persoma_tf.train',
    f'--gin_file={recipe}',
    f'--histories_dir={histories}',
    f'--embeddings_dir={embeddings}',
    f'--model_dir={model}',
    f'--gin.train.seed={seed}',
    *more,
  )
  steps = re.findall(
    r'^(\w+)/Stage\.steps = (\d+)$', (model / 'config.gin').read_text(), re.MULTILINE
  )
  spent = {'processor_seconds': round(seconds), 'steps': {k: int(v) for k, v in steps}}
  (model.parent / f'{model.name}_spent.json').write_text(json.dumps(spent))
  return spent


def load(
  model: pathlib.Path,
  folders: tuple[pathlib.Path, pathlib.Path],
  name: str,
  scored_options: int = 0,
) -> tuple[Predictor, list[dict], ReadExamples]:
  """The predictor of a model, and the test examples as it and the report read them.

  Args:
    model: finished folder of a model.
    folders: histories and vectors.
    name: name of the question.
    scored_options: number of options that the decoder scores.
  """
  histories, embeddings = map(str, folders)
  decoding = Decoding(scored_options=scored_options)
  predictor = Predictor(str(model), histories, embeddings, 64, decoding)
  records = [
    history_records.decode_example(record, predictor.kinds)
    for path in history_records.list_history_files(histories, 'test', name)
    for record in tfrecord.read_tfrecord(path)
  ]
  read = read_asked_examples(histories, questions_of(histories)[name], 'test')
  if [x['example_id'] for x in records] != [*read.samples.example_ids]:
    raise ValueError(f'{histories}: not every test example of {name} can be scored')
  return predictor, records, read
