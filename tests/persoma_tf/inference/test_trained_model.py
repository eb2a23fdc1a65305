"""A model of several questions, with the draft of one of them alone."""

import numpy as np

from persoma_tf.inference import generate
from persoma_tf.inference.trained_model import for_question
from persoma_tf.training.training_run import Recipe, TrainingRun
from tasks.item_statistics import interaction_vectors
from tests.tasks.test_question_mixture import (
  LIKE,
  SHELF,
  SUBJECTS,
  folder,  # noqa: F401  a fixture
  recipe,  # noqa: F401  a fixture
)


def test_a_question_has_the_soft_prompt_of_the_whole_model(recipe):  # noqa: F811
  """But for the padding; no draft, and a masked one, leave the user tokens."""
  recipe()
  run = TrainingRun(Recipe())
  model, params, rng = run.model, run.fresh_params(), np.random.default_rng(0)
  vectors = interaction_vectors()
  of_item = vectors.gather_items(np.zeros(0, np.int64)).shape[1:]
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  inputs = draw(3, 6, vectors.width), np.arange(6) < np.array([[6], [2], [1]])
  asked = {'asked': draw(3, 1, *of_item), 'present': np.ones((3, 1), np.int32)}
  assert [*model.adapter.questions] == [LIKE, SUBJECTS, SHELF]
  for number in range(3):
    numbers = np.full(3, number, np.int32)
    whole = generate.soft_prompt(model, params, *inputs, **asked, question=numbers)
    soft = generate.soft_prompt(*for_question(model, params, number), *inputs, **asked)
    shown = np.asarray(whole.mask[0])
    assert shown.sum() < len(shown) or number == 1
    assert soft.mask.all()
    np.testing.assert_allclose(soft.tokens, whole.tokens[:, shown], atol=1e-6)
    _, slots, words = soft.slot_logits.shape
    expected = whole.slot_logits[:, :slots, :words]
    np.testing.assert_allclose(soft.slot_logits, expected, atol=1e-5)
  draft = model.adapter.draft
  draft = draft.clone(drafts=(*draft.drafts[:2], None))  # as of earlier versions
  without = model.clone(adapter=model.adapter.clone(draft=draft))
  for whose, number in ((model, None), (without, 2)):
    none = generate.soft_prompt(*for_question(whose, params, number), *inputs)
    assert none.tokens.shape[1] == 8, 'the user tokens'
    users = soft.tokens[:, :8]
    np.testing.assert_array_equal(none.tokens, users)
    assert none.slot_logits is None
