"""Scores texts against a query with BM25, the classic score of sparse retrieval."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

_K1, _B = 1.2, 0.75
_WORD = re.compile(r'\w+')


def bm25_scores(texts: Sequence[str], query: str) -> np.ndarray:
  """Scores texts by how well they match a query.

      sum over words q of the query of  idf(q) f (k1 + 1) / (f + k1 (1 - b + b l / L))

  f is the count of q in the text, l the number of words in the text, and L the mean of
  l over all texts. idf(q) = ln(1 + (I - d + 0.5) / (d + 0.5)), where d of the I texts
  contain q; k1 = 1.2 and b = 0.75. Source: Robertson and Zaragoza, "The Probabilistic
  Relevance Framework: BM25 and Beyond", 2009; this idf, which is never negative, is
  Lucene's.

  Args:
    texts: texts [I]; words are runs of letters, digits and underscores, in lower case.
    query: words to look for; a repeated word counts once.

  Returns:
    Scores [I] float64, 0 where the text has no word of the query.
  """
  words = list(dict.fromkeys(_WORD.findall(query.lower())))
  frequency, lengths = np.zeros((len(texts), len(words))), np.zeros(len(texts))
  for row, text in enumerate(texts):
    counts = Counter(_WORD.findall(text.lower()))
    lengths[row] = counts.total()
    frequency[row] = [counts[word] for word in words]
  holding = (frequency > 0).sum(axis=0)
  idf = np.log1p((len(texts) - holding + 0.5) / (holding + 0.5))
  relative = lengths / max(lengths.mean(), 1) if len(texts) else lengths
  damped = frequency + _K1 * (1 - _B + _B * relative)[:, None]
  # Add word by word: in a matrix product, the order of sums differs between machines.
  total = np.zeros(len(texts))
  for column in range(len(words)):
    total += idf[column] * frequency[:, column] * (_K1 + 1) / damped[:, column]
  return total
