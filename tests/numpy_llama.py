"""A decoder of Llama's architecture in numpy, straight from a GGUF file.

It reads whole sequences of embeddings, keeps nothing, and turns neighbours as GGUF
stores them: nothing in it is the product's.
"""

import gguf
import numpy as np


class Llama:
  """One model, float64."""

  def __init__(self, path):
    """Reads the weights."""
    reader = gguf.GGUFReader(path)
    self._meta = lambda key: reader.fields[f'llama.{key}'].contents()
    self._weights = {
      tensor.name.removesuffix('.weight'): np.asarray(
        gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float64
      )
      for tensor in reader.tensors
    }

  def greedy(self, soft, prompt, eos_id: int, most: int) -> tuple[list[int], float]:
    """Tokens up to `eos_id`, without it, behind soft tokens [K, D]; their log_prob."""
    table = self._weights['token_embd']
    sequence = np.concatenate([soft, table[prompt]])
    tokens, total = [], 0.0
    for _ in range(most):
      logits = table @ self._last(sequence)
      best = int(logits.argmax())
      total -= np.log(np.exp(logits - logits[best]).sum())
      if best == eos_id:
        break
      tokens.append(best)
      sequence = np.concatenate([sequence, table[[best]]])
    return tokens, total

  def _last(self, x):
    """The state [D] that tells what follows embeddings [S, D]."""
    for layer in range(self._meta('block_count')):
      weight = lambda name, layer=layer: self._weights[f'blk.{layer}.{name}']
      x = x + self._attend(self._norm(x, weight('attn_norm')), weight)
      inner = self._norm(x, weight('ffn_norm'))
      gate = inner @ weight('ffn_gate').T
      up = inner @ weight('ffn_up').T
      x = x + (gate / (1 + np.exp(-gate)) * up) @ weight('ffn_down').T
    return self._norm(x, self._weights['output_norm'])[-1]

  def _norm(self, x, scale):
    epsilon = self._meta('attention.layer_norm_rms_epsilon')
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * scale

  def _attend(self, x, weight):
    heads, shared = (
      self._meta('attention.head_count'),
      self._meta('attention.head_count_kv'),
    )
    split = lambda name, count: (x @ weight(name).T).reshape(len(x), count, -1)
    query = self._turn(split('attn_q', heads))
    key = self._turn(split('attn_k', shared)).repeat(heads // shared, axis=1)
    value = split('attn_v', shared).repeat(heads // shared, axis=1)
    scores = np.einsum('qhd,khd->hqk', query, key) / np.sqrt(query.shape[-1])
    scores[:, np.triu(np.ones((len(x), len(x)), bool), 1)] = -np.inf
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    read = np.einsum('hqk,khd->qhd', scores / scores.sum(-1, keepdims=True), value)
    return read.reshape(len(x), -1) @ weight('attn_output').T

  def _turn(self, x):
    """Pairs of neighbours as complex numbers, each turned by its own frequency."""
    size = x.shape[-1]
    speed = self._meta('rope.freq_base') ** (-np.arange(0, size, 2) / size)
    turned = np.exp(1j * np.arange(len(x))[:, None] * speed)[:, None]
    pairs = (x[..., ::2] + 1j * x[..., 1::2]) * turned
    return np.stack([pairs.real, pairs.imag], -1).reshape(x.shape)
