"""Records small random encoders of the BERT and XLM-R families, and their vectors.

The tests of `persoma_tf.encoders.bert` read them. In an environment of its own:

    pip install torch transformers
    python benchmarks/record_bert_references.py

The vectors are those of sentence-transformers' modules: the mean over a text's tokens,
or the first token's state, brought to unit length where there is a module for it.
"""

import json
import pathlib
import shutil

import numpy as np
import tokenizers
import torch
import transformers

FOLDER = pathlib.Path('tests/persoma_tf/encoders/tiny_encoders')
TEXTS = (
  *('The movie Heat (1995) is listed with genres Action, Crime', 'Crème brûlée', ''),
  *('The movie is rated with 4.5 stars', 'a [SEP] b </s> c', 'long ' * 40),
)
_SHAPE = {
  'hidden_size': 24,
  'num_hidden_layers': 3,
  'num_attention_heads': 4,
  'intermediate_size': 40,
  'initializer_range': 0.4,
}
# Name -> (family, pooling, unit length, text before every text), as E5 and BGE.
MODELS = {
  'bge': ('Bert', 'cls_token', True, ''),
  'e5': ('Bert', 'mean_tokens', True, 'query: '),
  'e5_multilingual': ('XLMRoberta', 'mean_tokens', True, 'query: '),
  'plain': ('XLMRoberta', 'mean_tokens', False, ''),
}


def tokenizer_of(family: str) -> tokenizers.Tokenizer:
  """A tokenizer of the family's kind, trained on the texts."""
  texts = [text for text in TEXTS if 'SEP' not in text] * 3
  if family == 'Bert':
    made = tokenizers.BertWordPieceTokenizer(lowercase=True)
    made.train_from_iterator(texts, vocab_size=120, show_progress=False)
    made = made._tokenizer
    signs = [(sign, made.token_to_id(sign)) for sign in ('[SEP]', '[CLS]')]
    made.post_processor = tokenizers.processors.BertProcessing(*signs)
    return made
  first = ['<s>', '<pad>', '</s>', '<unk>']
  made = tokenizers.Tokenizer(tokenizers.models.Unigram())
  made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
  trainer = tokenizers.trainers.UnigramTrainer(
    vocab_size=120, special_tokens=first, unk_token='<unk>'
  )
  made.train_from_iterator(texts, trainer)
  made.post_processor = tokenizers.processors.TemplateProcessing(
    single='<s> $A </s>', special_tokens=[('<s>', 0), ('</s>', 2)]
  )
  return made


def write(name: str) -> None:
  """Writes a model and its vectors."""
  family, pooling, unit, prefix = MODELS[name]
  folder = FOLDER / name
  folder.mkdir(parents=True)
  tokenizer = tokenizer_of(family)
  tokenizer.save(str(folder / 'tokenizer.json'))
  torch.manual_seed(0)
  longest = 32 + 2 * (family != 'Bert')
  config = getattr(transformers, f'{family}Config')(
    vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=longest, **_SHAPE
  )
  model = getattr(transformers, f'{family}Model')(config).eval()
  model.save_pretrained(folder)
  if unit or pooling != 'mean_tokens':
    kinds = ['Transformer', 'Pooling', *(['Normalize'] if unit else [])]
    modules = [
      {'idx': x, 'name': str(x), 'path': f'{x}_{kind}' if x else '', 'type': kind_name}
      for x, kind in enumerate(kinds)
      for kind_name in [f'sentence_transformers.models.{kind}']
    ]
    (folder / 'modules.json').write_text(json.dumps(modules))
    (folder / '1_Pooling').mkdir()
    modes = ('cls_token', 'mean_tokens', 'max_tokens')
    chosen = {f'pooling_mode_{mode}': mode == pooling for mode in modes}
    settings = {'word_embedding_dimension': 24, **chosen}
    (folder / '1_Pooling' / 'config.json').write_text(json.dumps(settings))
  tokenizer.encode_special_tokens = True
  tokenizer.enable_truncation(32)
  rows = []
  for text in TEXTS:
    ids = torch.tensor([tokenizer.encode(prefix + text).ids])
    with torch.no_grad():
      states = model(ids).last_hidden_state[0]
    vector = states[0] if pooling == 'cls_token' else states.mean(0)
    rows.append((vector / vector.norm() if unit else vector).numpy())
  np.savez_compressed(folder / 'vectors.npz', texts=TEXTS, vectors=rows, prefix=prefix)


def main() -> None:
  """Writes all models."""
  shutil.rmtree(FOLDER, ignore_errors=True)
  for name in MODELS:
    write(name)
  print(torch.__version__, transformers.__version__, tokenizers.__version__)


if __name__ == '__main__':
  main()
