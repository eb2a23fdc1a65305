"""Every recipe trains and answers; batches and neighbours change no answer."""

import json
import shutil

import gin
import pytest

from persoma_tf import recipes
from persoma_tf.parameters import checkpoints, freezing
from persoma_tf.training import trainer
from persoma_tf.training.training_run import Recipe, TrainingRun
from pipelines.common import tfrecord
from pipelines.histories import history_records
from pipelines.inspect import folder_contents, printed
from tasks.predictor import Predictor

pytestmark = pytest.mark.assets
_QUICK = (
  'histories/Stage.steps = 2',
  'decoder/Stage.steps = 2',
  'decoder/Stage.batch_size = 4',
)
_SMALL = (
  'Transformer.num_layers = 1',
  'Transformer.width = 16',
  'Transformer.num_heads = 2',
)
RECIPES = {
  'mlp': (('runs/perceiver.gin', 'adapters/mlp.gin'), ('Mlp.width = 16',)),
  'transformer': (('runs/perceiver.gin', 'adapters/transformer.gin'), _SMALL),
  'uem': (('runs/uem.gin',), (*_SMALL, 'Transformer.hidden = 24')),
  'text_prompt': (('runs/text_prompt.gin',), ('history_limits.text_tokens = 200',)),
  'options': (('runs/quickstart.gin',), ()),
  'user_tokens': (('runs/user_tokens.gin',), ('Perceiver.width = 16',)),
  'lora': (('runs/perceiver.gin',), ("train.tuning = 'lora'",)),
}


def histories(folder):
  """Stored histories of the test split."""
  return [
    history_records.decode_example(record)
    for path in sorted(folder.glob('test-*'))
    for record in tfrecord.read_tfrecord(str(path))
  ]


def answers(predictor, users):
  """{user id: text} of users asked in batches of three."""
  rows = [
    made.row
    for at in range(0, len(users), 3)
    for made in predictor.predict(users[at : at + 3])
  ]
  return {row['user_id']: row['text'] for row in rows}


@pytest.mark.parametrize('name', RECIPES)
def test_recipe(recipe, folders, tmp_path, name):
  files, bindings = RECIPES[name]
  recipe(*_QUICK, *bindings, files=files)
  trainer.train(str(tmp_path))
  predictor = Predictor(str(tmp_path), *map(str, folders), batch_size=3)
  users = histories(folders[0])[:6]  # whole batches: one shape
  found = answers(predictor, users)
  assert found.keys() == {user['user_id'] for user in users}
  assert answers(predictor, users[::-1]) == found
  _check_drafts(
    predictor, users, has_slots=name not in ('uem', 'text_prompt', 'user_tokens')
  )
  if name in ('mlp', 'text_prompt'):
    _check_words(predictor, users[:3])
  stored = checkpoints.load_params(checkpoints.latest(str(tmp_path)))
  _, kept = freezing.split_params(stored, ['adapter/.*'])
  tuned = [path for path in kept if 'lora_b' in path and kept[path].any()]
  assert bool(tuned) is (name == 'lora')


def test_a_chat_template_stands_around_soft_tokens_and_prompt(
  recipe, folders, tmp_path
):
  """The model's folder has its tokens and, to be read, its texts."""
  recipe(*_QUICK, "build.prompt_order = 'chat'", files=('runs/quickstart.gin',))
  trainer.train(str(tmp_path))
  system = '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, '
  system += 'trained by Hugging Face<|im_end|>\n<|im_start|>user\n'
  end = '<|im_end|>\n<|im_start|>assistant\n'
  manifest = checkpoints.adapter_manifest(f'{tmp_path}/adapter')
  assert manifest['prompt_parts'] == [system, 'USER', 'DRAFT', 'PROMPT', end]
  for made in (tmp_path / 'adapter/README.md').read_text(), described(tmp_path):
    assert json.dumps(system)[1:60] in made
  parts = Predictor(str(tmp_path), *map(str, folders), batch_size=3).engine.model.parts
  first, *names, last = parts
  assert names == ['USER', 'DRAFT', 'PROMPT']
  assert (first[0], first[-3:]) == (1, (1, 4093, 198))
  assert last == (2, 198, 1, 520, 9531, 198)

  # The same run goes on where it was cut.
  (tmp_path / 'COMPLETED').unlink()
  shutil.rmtree(tmp_path / 'adapter')
  recipe(*_QUICK, "build.prompt_order = 'chat'", files=('runs/quickstart.gin',))
  trainer.train(str(tmp_path))
  assert checkpoints.adapter_manifest(f'{tmp_path}/adapter') == manifest
  # A model's config.gin is a recipe, too.
  gin.clear_config()
  recipes.parse_recipes([f'{tmp_path}/config.gin'])
  again = TrainingRun(Recipe())
  assert [*again.prompt_parts] == manifest['prompt_parts']
  assert again.model.parts == parts


def described(folder):
  """What `pipelines.inspect` prints of a folder."""
  return printed.format_folder(folder_contents.describe_folder(str(folder)))


def _check_words(predictor, users):
  """A user is asked with other words, and with the same words as without any."""
  found = lambda **words: [x.row for x in predictor.predict(users, **words)]
  own, same, other = found(), found(prompt=' Genres:'), found(prompt='Likes what?')
  assert predictor.task_prompt(users[0], 'Likes what?') == '\nLikes what?\n'
  assert [row['text'] for row in same] == [row['text'] for row in own]
  odds = [[row['log_prob'] for row in rows] for rows in (own, same, other)]
  assert odds[1] == pytest.approx(odds[0], abs=1e-2)
  assert odds[2] != pytest.approx(odds[0], abs=1e-2)
  with pytest.raises(ValueError, match=r'about a user.*expected a prompt without \{'):
    predictor.predict(users, 'Likes {title}?')


def _check_drafts(predictor, users, has_slots):
  """Drafts are those that answers tell of, and are refused where there are none."""
  if not has_slots:
    with pytest.raises(ValueError, match='drafts no answer'):
      predictor.drafts(users)
    return
  rows = [made.row for made in predictor.predict(users)]
  expected = [(row['draft_liked'], row['draft_disliked']) for row in rows]
  assert predictor.drafts(users) == expected
