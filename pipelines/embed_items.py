"""Encodes the texts of items and ratings with a frozen encoder, by Beam's RunInference.

    python -m pipelines.embed_items --histories_dir=histories --output_dir=embeddings \
      [--template=joined ...] [--runner=DataflowRunner ...]

Encodes every distinct text once. Writes `embeddings.parquet`, `ratings.parquet` (for
the template `fields`) and `encoder_info.json`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from persoma_tf import encoders
from pipelines.common import flags
from pipelines.common.flags import flag, path_flag
from pipelines.common.places import WORKERS, Place
from tasks.interaction_texts import MOVIELENS, TEMPLATES, Nouns

_ENCODER = Place('workers', tuple(encoders.ENCODERS), ('https', 'http'))


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  histories_dir: str = path_flag('finished folder of build_histories', place=WORKERS)
  output_dir: str = path_flag('folder to write', place=WORKERS)
  overwrite: bool = flag('write a finished folder again', False)
  encoder: str = path_flag(
    f'frozen history encoder: one of {", ".join(encoders.ENCODERS)}, or a TF-Hub '
    'address, or a folder: a SavedModel, or a Hugging Face folder of the BERT or XLM-R '
    'family',
    'all-MiniLM-L6-v2',
    place=_ENCODER,
  )
  encoder_signature: str = flag(
    'signature of a SavedModel to call, if it has several', ''
  )
  encoder_output: str = flag('output of a SavedModel to take, if it has several', '')
  encoder_prefix: str = flag(
    "text before every text, for a Hugging Face folder, such as 'query: '", ''
  )
  item_vectors: str = path_flag(
    'Parquet file with the columns item and vector: vectors of the items, in place of '
    'those of their texts',
    '',
    place=WORKERS,
  )
  template: Literal[TEMPLATES] = flag('how interactions become texts', 'fields')
  batch_size: int = flag('number of texts in a batch', 128)
  item_noun: str = flag('word for an item in the texts', MOVIELENS.item)
  genres_noun: str = flag("word for an item's genres in the texts", MOVIELENS.genres)
  rating_noun: str = flag(
    'word for the unit of a rating in the texts', MOVIELENS.rating
  )

  def __post_init__(self):
    encoders.check_encoder(self.encoder, **self.choice)
    if self.batch_size < 1:
      raise ValueError(f'batch_size={self.batch_size}: expected at least 1')
    if self.item_vectors and self.template == 'joined':
      raise ValueError(
        "item_vectors is for template='fields': 'joined' encodes an item together with "
        'its rating'
      )
    if not all(self.nouns):
      raise ValueError(f'{self.nouns}: expected one word for each noun')

  @property
  def choice(self) -> dict[str, str]:
    """Returns what flags choose of the encoder: signature, output, prefix."""
    named = {'signature': self.encoder_signature, 'output': self.encoder_output}
    named['prefix'] = self.encoder_prefix
    return {part: name for part, name in named.items() if name}

  @property
  def nouns(self) -> Nouns:
    """Returns the words for items, genres and ratings."""
    return Nouns(self.item_noun, self.genres_noun, self.rating_noun)


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags and runs the job.

  Raises:
    JobError: the inputs or the output folder are unusable.
  """
  config, beams = flags.parse_with_beam(Config, argv, __doc__)
  options = flags.beam_options(config, beams)
  from pipelines.embeddings import embeddings_job  # imports Beam

  embeddings_job.run_job(config, options)


if __name__ == '__main__':
  from pipelines import embed_items
  from pipelines.common import job

  job.main(embed_items.run)
