"""Checks that a trained model can answer questions, and that there is whom to ask."""

from apache_beam.io.filesystems import FileSystems

from persoma_tf.gin_settings import setting, settings
from pipelines.common import flags, job, storage
from pipelines.histories.history_records import require_users
from tasks import finished
from tasks.answers.example_question import ExampleQuestion
from tasks.questions import AnyQuestion, from_words, questions_of_config


def check_questions(config) -> dict[str, ExampleQuestion | None]:
  """Checks that a model can answer questions, and that there is whom to ask.

  Args:
    config: `model_dir`, `histories_dir`, `split`, `questions`, `drafts`, `trusted`.

  Returns:
    The questions: one that is about examples, or None for one about users. By name if
    they are asked by name, else under ''.

  Raises:
    JobError: it cannot, or there is nobody.
  """
  asked = {'': None}
  path = FileSystems.join(config.model_dir, 'config.gin')
  if FileSystems.exists(path):
    asked = _asked_questions(storage.read_file(path).decode(), config)
  for question in asked.values():
    if question:
      check_examples_of(question, config.histories_dir, config.split)
    else:
      require_users(config.histories_dir, config.split)
  return asked


def _asked_questions(recipe: str, config) -> dict[str, ExampleQuestion | None]:
  """Returns the questions of a run, see `check_questions`.

  Raises:
    JobError: there is no such question, or the model drafts answers, but not to it.
  """
  several = setting(settings(recipe), 'own_questions.names')
  if not (config.questions or several):
    return {'': _question_about_examples(recipe)}
  trained = questions_of_config(recipe, config.trusted)
  known = {**dataset_questions(config.histories_dir), **trained}
  every = config.questions in ('', 'all')
  names = trained if every else flags.split_names(config.questions)
  for name in names:
    if name not in known:
      raise job.JobError(
        f'--questions: {config.model_dir} and {config.histories_dir} have no question '
        f'{name!r}: expected all, or some of {", ".join(known)}'
      )
    has_drafts = config.drafts and setting(settings(recipe), 'train.answer') is not None
    if name not in trained and has_drafts:
      raise job.JobError(
        f'--questions: {config.model_dir} drafts answers, but not to {name}, which it '
        f'was not trained on: expected some of {", ".join(trained)}, or --nodrafts for '
        'its user tokens alone'
      )
  about = lambda x: x if isinstance(x, ExampleQuestion) else None
  return {name: about(known[name]) for name in names}


def dataset_questions(histories_dir: str) -> dict[str, AnyQuestion]:
  """Returns the questions of the dataset file of histories."""
  info = storage.read_json(FileSystems.join(histories_dir, 'dataset_info.json'))
  words = (info.get('dataset') or {}).get('questions', {})
  return {name: from_words(name, own) for name, own in words.items()}


def check_examples_of(
  question: ExampleQuestion, histories_dir: str, split: str
) -> None:
  """Checks that a split of histories has examples of a model's question.

  Raises:
    JobError: it has none, or the folder has none of this question, or its examples have
      other words.
  """
  path = FileSystems.join(histories_dir, 'dataset_info.json')
  info = storage.read_json(path)
  counts = info['counts'].get('examples', {})
  try:
    finished.check_examples(histories_dir, question.name, split, counts)
  except ValueError as error:
    raise job.JobError(str(error)) from None
  stored = info['dataset']['questions'][question.name]
  asked = {'kind': question.KIND, **vars(question)}
  for name in sorted(stored.keys() - {'prompt'}):  # it may ask in other words
    own = asked.get(name)
    own = list(own) if isinstance(own, tuple) else own
    if stored[name] != own:
      raise job.JobError(
        f'{path}: {name} of question {question.name} are {stored[name]}, but the model '
        f'was trained with {own}: expected histories with the same question'
      )


def _question_about_examples(recipe: str) -> ExampleQuestion | None:
  """Returns the only question of a model if it is asked about examples, else None.

  Such a model is asked about the examples of its question, others about users.
  """
  config = settings(recipe)
  words = setting(config, 'own_question.words') or {}
  if words.get('kind', 'lists') == 'lists':
    return None
  return from_words(setting(config, 'own_question.name'), words)
