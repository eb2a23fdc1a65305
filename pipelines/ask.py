"""Asks a trained model about one user, and prints the answer.

    python -m pipelines.ask --model_dir=model --histories_dir=histories \
      --embeddings_dir=embeddings --user=17 [--question=NAME] [--example=ID]
      [--item=ID] [--prompt=WORDS] [--nodrafts] [--json]

Prints the newest interactions, the prompt, the draft, the answer and the probabilities
of both; `--json` prints them with the numbers of the soft prompt. To ask many times,
load the model once: `pipelines.predictions.asker`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from persoma_tf.inference.decoding_settings import WEIGHTS, Decoding
from pipelines.common import flags
from pipelines.common.flags import flag, path_flag
from pipelines.common.places import LOCAL


@dataclasses.dataclass(frozen=True)
class Config:
  """Holds the flags."""

  model_dir: str = path_flag('folder of a finished training', place=LOCAL)
  histories_dir: str = path_flag('finished folder of build_histories', place=LOCAL)
  embeddings_dir: str = path_flag('finished folder of embed_items', place=LOCAL)
  user: str = flag('id of the user, of any split')
  question: str = flag("name of the question; '': the first one of the model", '')
  example: str = flag(
    "id of one of the user's examples, for a question about examples; '': the newest",
    '',
  )
  item: str = flag(
    "id of another item to ask about, with the history before the example; '': the "
    "example's",
    '',
  )
  prompt: str = flag(
    'other words to ask with; of a question about examples, a template over the same '
    "columns; '': those of the question",
    '',
  )
  drafts: bool = flag(
    'let the soft prompt have the draft of the answer; without, the decoder reads the '
    'user tokens alone, and can be asked what the model was not trained on',
    True,
  )
  shown: int = flag('number of interactions to print', 5)
  weights: Literal[WEIGHTS] = flag(
    "number type of the decoder's weights, as for batch_predict", 'auto'
  )
  trusted_modules: str = flag(
    "modules of yours that the model's config.gin may import, with commas", ''
  )
  json: bool = flag('print JSON, with the numbers of the soft prompt', False)


def run(argv: Sequence[str] | None = None) -> None:
  """Parses the flags, asks and prints.

  Raises:
    JobError: a folder is unusable, or nothing like that can be asked.
  """
  config = flags.parse(Config, argv, __doc__)
  from pipelines.predictions.asker import Asker  # imports Beam

  reply = Asker(
    config.model_dir,
    config.histories_dir,
    config.embeddings_dir,
    Decoding(weights=config.weights),
    flags.split_names(config.trusted_modules),
    config.drafts,
  ).ask(
    config.user,
    config.question,
    example=config.example,
    item=config.item,
    prompt=config.prompt,
    shown=config.shown,
  )
  print(reply.as_json() if config.json else reply)


if __name__ == '__main__':
  from pipelines import ask
  from pipelines.common import job

  job.main(ask.run)
