"""Methods that rank without a model, against pandas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.report.asked_examples import AskedCandidates, ReadExamples
from pipelines.report.rank_scoring import RANK_FLOORS, rank_floors
from tasks import schema
from tasks.baselines import ChoiceSamples
from tasks.user_folds import FOLDS, folds_of

ITEMS = 7


def examples(candidates, answers, name='test'):
  """What `read_asked_examples` returns, as far as the methods read it."""
  empty = [np.zeros(0, np.int64)] * len(answers)
  names = [f'{name}{x}' for x in range(len(answers))]
  samples = ChoiceSamples(
    *(names, names, np.full(len(answers), -1), np.array(answers)), empty, empty
  )
  nothing = [{}] * len(answers), np.zeros(len(answers), int), []
  return ReadExamples(samples, names, *nothing, [np.array(x) for x in candidates])


def training(candidates, answers):
  """What `read_asked_candidates` yields."""
  for at, (items, answer) in enumerate(zip(candidates, answers, strict=True)):
    yield AskedCandidates((f'train{at}', f'train{at}'), np.array(items), answer)


@pytest.fixture
def histories(tmp_path):
  """Folder with an item table; item i has i events in each fold."""
  counts = np.repeat(np.arange(ITEMS), FOLDS)
  column = pa.FixedSizeListArray.from_arrays(pa.array(counts), FOLDS)
  pq.write_table(pa.table({schema.VALUE_COUNTS: column}), tmp_path / 'items.parquet')
  return str(tmp_path)


def test_how_often_a_candidate_was_the_answer(histories):
  rng = np.random.default_rng(0)
  candidates = [rng.permutation(ITEMS)[: rng.integers(2, 5)] for _ in range(40)]
  answers = [rng.integers(-1, len(x)) for x in candidates]  # -1: unknown
  asked = examples([[4, 0, 6], [1, 2]], [0, 1])
  found = rank_floors(asked, training(candidates, answers), histories)
  assert {*found} == {*RANK_FLOORS} - {'pooled_cosine'}  # needs vectors
  rows = pd.DataFrame(
    [
      (item, place == answer)
      for items, answer in zip(candidates, answers, strict=True)
      for place, item in enumerate(items)
      if answer >= 0
    ],
    columns=['item', 'chosen'],
  )
  of_items = rows.groupby('item')['chosen'].agg(['sum', 'count'])
  shares = (of_items['sum'] + rows['chosen'].mean()) / (of_items['count'] + 1)
  np.testing.assert_allclose(found['candidate_share'][0], shares[[4, 0, 6]])
  np.testing.assert_allclose(found['candidate_share'][1, :2], shares[[1, 2]])
  assert np.isnan(found['candidate_share'][1, 2])
  np.testing.assert_array_equal(found['popularity'][0], np.array([4, 0, 6]) * FOLDS)


def test_the_training_itself_is_asked_without_its_own_fold(histories):
  rng = np.random.default_rng(1)
  candidates = [rng.permutation(ITEMS)[:3] for _ in range(30)]
  answers = [rng.integers(0, 3) for _ in candidates]
  given = examples(candidates, answers, 'train')
  of_training = training(candidates, answers)
  found = rank_floors(given, of_training, histories)['candidate_share']
  folds = folds_of(given.samples.user_ids)
  assert {*folds} == {*range(FOLDS)}
  for at, items in enumerate(candidates):
    others = [x for x in range(30) if folds[x] != folds[at]]
    shown = sum(np.isin(items, candidates[x]).astype(int) for x in others)
    chosen = sum((items == candidates[x][answers[x]]).astype(int) for x in others)
    np.testing.assert_allclose(found[at], (chosen + 1 / 3) / (shown + 1))


def test_a_training_without_answers_tells_nothing(histories):
  for given in (training([], []), training([[1, 2]], [-1])):
    found = rank_floors(examples([[3, 5]], [0]), given, histories)
    np.testing.assert_array_equal(found['candidate_share'], [[0, 0]])
