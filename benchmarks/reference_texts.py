"""Texts for comparisons with other implementations, the same on every run."""

import numpy as np

PROMPTS = (
  'The capital of France is',
  "The user likes Drama, Comedy and doesn't like Horror",
  'Question: which genre is the film with the 3 robots from 2049?\nAnswer:',
  'def mean(values):\n  """Arithmetic mean."""\n  return',
)
_GENRES = ('Action', 'Children', 'Comedy', 'Drama', 'Film-Noir', 'Sci-Fi', '(none)')
_NOUNS = ('river', 'Ängström', 'clockmaker', 'naïve café', 'O’Hara', 'ship', 'Zoë')
# No numerals behind several spaces: transformers' reading of GGUF tokenizers leaves out
# the step that sets digits apart, which the model's own tokenizer.json has.
_PIECES = (
  *('Hello', ' world', '  two  spaces', '\n', '\n\n\n', '\t', 'n1234567890', 'v3.14'),
  *('don’t', "doesn't", " we'll", 'ALLCAPS', 'camelCase', 'snake_case_name', '...'),
  *('😀', '👩‍👩‍👧', '🇩🇪', '数据', 'данные', 'δεδομένα', 'بيانات', 'データ', '한국어'),
  *('if x == 3:', 'return {"a": [1, 2]}', '<p>text</p>', '// note', '$€£¥', '%5C'),
  *('e\u0301', '\u00a0', '\u200b', '\u2028', 'ﬁ', '\x7f', '—', '„Quote“'),
)


def sentences() -> list[str]:
  """100 different texts of the kind that history encoders read, with some hard ones."""
  rng = np.random.default_rng(0)
  texts = ['', ' ', '!?', 'the ' * 400, 'Ünïcödé 數據 😀', 'a\nb\tc']
  while len(texts) < 100:
    title = ' '.join(rng.choice(_NOUNS, rng.integers(1, 4)))
    genres = ', '.join(rng.choice(_GENRES, rng.integers(1, 4), replace=False))
    year, stars = rng.integers(1920, 2025), rng.integers(1, 11) / 2
    texts += [
      f'The movie The {title} ({year}) is listed with genres {genres}',
      f'The movie is rated with {stars} stars',
      f'A {title} and the {rng.choice(_NOUNS)} meet in {year}. ' * rng.integers(1, 12),
    ]
    texts = list(dict.fromkeys(texts))
  return texts[:100]


def varied() -> list[str]:
  """500 different texts for tokenizers: scripts, emoji, digits, code, whitespace."""
  rng = np.random.default_rng(0)
  texts = [*PROMPTS, *_PIECES, *sentences()[1:60]]
  while len(texts) < 500:
    texts.append(''.join(rng.choice(_PIECES, rng.integers(2, 7))))
    texts = list(dict.fromkeys(texts))
  return texts
