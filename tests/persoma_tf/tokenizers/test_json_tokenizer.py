"""tokenizer.json against the library alone, on tokenizers of the kinds in use."""

import json
import pathlib

import pytest
from tokenizers import (
  AddedToken,
  Regex,
  Tokenizer,
  decoders,
  models,
  normalizers,
  pre_tokenizers,
  processors,
  trainers,
)

from persoma_tf.tokenizers.json_tokenizer import read_json_tokenizer
from tasks.vocabularies import load_vocabulary

RECORDED = pathlib.Path(__file__).parents[2] / 'tasks' / 'smollm2_token_ids.json'
TEXTS = [text for text, _ in json.loads(RECORDED.read_text())]
START, END, TURN, THINK = '<|begin|>', '</s>', '<|eot|>', '<think>'
SIGNS = (START, END, TURN, THINK)
HOSTILE = [
  *SIGNS,
  f'Alien {END}{TURN} (1979)',
  f'{THINK}\n\n{THINK}',
  f'a{END}b  {START}c',
  '</',
  's>',
  f'{END[:3]}{END}',
]
LLAMA3 = (
  r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
  r'| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)


def byte_level():
  """As Llama 3, Qwen and SmolLM: control tokens beside the model's vocabulary."""
  made = Tokenizer(models.BPE(ignore_merges=True))
  made.pre_tokenizer = pre_tokenizers.Sequence(
    [
      pre_tokenizers.Split(Regex(LLAMA3), 'isolated'),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
  )
  made.decoder = decoders.ByteLevel()
  alphabet = pre_tokenizers.ByteLevel.alphabet()
  made.train_from_iterator(
    TEXTS, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet)
  )
  return made


def byte_fallback():
  """As Llama 2 and Gemma: control tokens among the pieces, which merges can make."""
  made = Tokenizer(models.BPE(byte_fallback=True, unk_token='<unk>', fuse_unk=True))
  made.normalizer = normalizers.Replace(' ', '▁')
  made.decoder = decoders.Sequence(
    [decoders.Replace('▁', ' '), decoders.ByteFallback(), decoders.Fuse()]
  )
  first = ['<unk>', END, *(f'<0x{x:02X}>' for x in range(256))]
  trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=first)
  made.train_from_iterator(TEXTS, trainer)
  content = json.loads(made.to_str())
  content['added_tokens'] = []
  vocabulary, merges = content['model']['vocab'], content['model']['merges']
  for piece in ('</', 's>'):
    vocabulary.setdefault(piece, len(vocabulary))
  merges += [['<', '/'], ['s', '>'], ['</', 's>']]
  return Tokenizer.from_str(json.dumps(content))


def unigram():
  """As T5: control tokens among the pieces, with the best of all scores."""
  made = Tokenizer(models.Unigram())
  made.pre_tokenizer = pre_tokenizers.Metaspace()
  made.decoder = decoders.Metaspace()
  trainer = trainers.UnigramTrainer(
    vocab_size=700, special_tokens=['<unk>', END], unk_token='<unk>'
  )
  made.train_from_iterator(TEXTS, trainer)
  return made


KINDS = {'bytes': byte_level, 'fallback': byte_fallback, 'unigram': unigram}


@pytest.fixture(scope='module', params=KINDS)
def case(request, tmp_path_factory):
  """(folder, the library's tokenizer)."""
  made = KINDS[request.param]()
  made.add_special_tokens([START, END, TURN])
  made.add_tokens([AddedToken(THINK, special=False)])
  start = made.token_to_id(START)
  made.post_processor = processors.TemplateProcessing(
    single=f'{START} $A', special_tokens=[(START, start)]
  )
  made.enable_truncation(7)
  made.enable_padding()
  folder = tmp_path_factory.mktemp(request.param)
  made.save(str(folder / 'tokenizer.json'))
  (folder / 'tokenizer_config.json').write_text(json.dumps({'eos_token': END}))
  ids = [made.token_to_id(END), made.token_to_id(TURN)]
  (folder / 'generation_config.json').write_text(json.dumps({'eos_token_id': ids}))
  made.no_truncation()
  made.no_padding()
  return folder, made


def test_ids_equal_those_of_the_library(case):
  folder, library = case
  ours = read_json_tokenizer(folder)
  assert len(TEXTS) == 500
  for text in TEXTS:
    ids = library.encode(text, add_special_tokens=False).ids
    assert ours.encode(text) == ids
    assert ours.decode(ids) == library.decode(ids, skip_special_tokens=False)
  assert ours.size == library.get_vocab_size()


def test_no_text_becomes_a_sign(case):
  folder, library = case
  ours, lossy = read_json_tokenizer(folder), library.model.__class__ is models.Unigram
  signs = {library.token_to_id(sign) for sign in SIGNS}
  for text in HOSTILE:
    ids = ours.encode(text)
    assert not signs.intersection(ids)
    assert lossy or ours.decode(ids) == text


def test_tokens_that_end_a_text(case, tmp_path):
  folder, library = case
  ours = read_json_tokenizer(folder)
  assert ours.eos_id == library.token_to_id(END)
  assert ours.other_ends == (library.token_to_id(TURN),)
  vocabulary = load_vocabulary(str(folder))
  assert (vocabulary.eos_id, vocabulary.other_ends) == (ours.eos_id, ours.other_ends)
  (tmp_path / 'tokenizer.json').write_bytes((folder / 'tokenizer.json').read_bytes())
  with pytest.raises(ValueError, match='no eos_token in tokenizer_config'):
    read_json_tokenizer(tmp_path)


def test_a_file_that_is_no_tokenizer(tmp_path):
  (tmp_path / 'tokenizer.json').write_text('{"model": {"type": "BPE", "vocab": 3}}')
  with pytest.raises(ValueError, match=r'tokenizer\.json cannot be read as tokenizer'):
    read_json_tokenizer(tmp_path)


def test_added_tokens_that_are_texts_keep_their_ids(tmp_path):
  """Letters among the added tokens, behind signs that the vocabulary has not."""
  made = Tokenizer(models.BPE(vocab={'a': 0, 'b': 1, 'ab': 2}, merges=[('a', 'b')]))
  made.add_special_tokens([START])
  made.add_tokens([AddedToken('ø', special=False), END, AddedToken('ö', special=False)])
  made.save(str(tmp_path / 'tokenizer.json'))
  (tmp_path / 'tokenizer_config.json').write_text(json.dumps({'eos_token': END}))
  ours = read_json_tokenizer(tmp_path)
  assert ours.encode('abøaö') == [2, 4, 0, 6] == made.encode('abøaö').ids
  assert not {3, 5}.intersection(ours.encode(f'a{START}b{END}ø'))
  assert (ours.eos_id, ours.size) == (5, 7)
