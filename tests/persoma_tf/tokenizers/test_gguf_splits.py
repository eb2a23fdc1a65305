"""Byte-level BPE in GGUF files, with the splitting rules of the models in use."""

import json
import pathlib

import gguf
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from persoma_tf.tokenizers.gguf_tokenizer import read_tokenizer
from tests import tiny

RECORDED = pathlib.Path(__file__).parents[2] / 'tasks' / 'smollm2_token_ids.json'
TEXTS = [text for text, _ in json.loads(RECORDED.read_text())]
TEXTS += [
  '1234567 12',
  "I'LL don't",
  'e\u0301 \ufb01n',
  'a/b//c\r\n\r\n d',
  'HTMLParser',
]
SIGN = '<|im_end|>'
# Name in GGUF -> (rule, whether whole tokens skip the merges, whether NFC), as the
# tokenizers of transformers have them (`integrations/gguf`, `models/qwen2`).
RULES = {
  'llama-bpe': (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+',
    True,
    False,
  ),
  'qwen2': (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+',
    False,
    True,
  ),
  'tekken': (
    r'[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+'
    r'|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*'
    r'|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+',
    True,
    False,
  ),
}


def library(name):
  """The library's tokenizer with a rule, trained on the texts."""
  rule, whole, normalized = RULES[name]
  made = Tokenizer(models.BPE(ignore_merges=whole))
  made.normalizer = normalizers.NFC() if normalized else None
  made.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split(Regex(rule), 'isolated'),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
  )
  trainer = trainers.BpeTrainer(
    vocab_size=1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
  )
  made.train_from_iterator(TEXTS, trainer)
  return made


@pytest.mark.parametrize('name', RULES)
def test_ids_equal_those_of_the_library(name, tmp_path):
  made = library(name)
  content = json.loads(made.to_str())['model']
  tokens = sorted(content['vocab'], key=content['vocab'].get)
  writer = gguf.GGUFWriter(str(tmp_path / 'x.gguf'), 'llama')
  writer.add_tokenizer_model('gpt2')
  writer.add_tokenizer_pre(name)
  writer.add_token_list([*tokens, SIGN])
  normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
  writer.add_token_types([normal] * len(tokens) + [control])
  writer.add_token_merges([' '.join(merge) for merge in content['merges']])
  writer.add_eos_token_id(len(tokens))
  tiny.finish(writer)
  ours = read_tokenizer(str(tmp_path / 'x.gguf'))
  assert tokens[0] == '!', 'id 0 is a text'
  for text in TEXTS:
    assert ours.encode(text) == made.encode(text).ids
  assert len(tokens) not in ours.encode(f'a {SIGN} b')
  assert ours.decode(ours.encode(f'a {SIGN} b')) == f'a {SIGN} b'
  assert (ours.eos_id, ours.size) == (len(tokens), len(tokens) + 1)
