"""Chat templates, against transformers' rendering of the same templates."""

import itertools
import json
import pathlib

import gguf
import pytest

from persoma_tf.tokenizers import chat_template
from persoma_tf.tokenizers.chat_template import ChatTemplate
from tasks.vocabularies import load_vocabulary

RECORDED = json.loads(
  (pathlib.Path(__file__).parent / 'chat_references.json').read_text()
)
SIGNS = RECORDED['signs']


def around(source):
  return ChatTemplate(source, SIGNS, 'chat.jinja').around_message()


@pytest.mark.parametrize('name', RECORDED['templates'])
def test_texts_are_those_of_transformers(name):
  before, after = around(RECORDED['templates'][name])
  assert f'{before}{RECORDED["message"]}{after}' == RECORDED['rendered'][name]


def test_smollm2s_template_and_ids(assets):
  assets('smollm2-135m-instruct')
  vocabulary = load_vocabulary('smollm2-135m-instruct')
  assert vocabulary.chat.source == RECORDED['templates']['smollm2']
  text, ids = RECORDED['rendered']['smollm2'], RECORDED['smollm2_ids']
  assert vocabulary.encode_signs(text) == ids
  assert not set(vocabulary.encode(text)) & {1, 2}  # no text of a user is a sign
  parts = [*vocabulary.chat.around_message()]
  parts.insert(1, RECORDED['message'])
  assert [*itertools.chain(*map(vocabulary.encode_signs, parts))] == ids


def test_the_date_is_always_the_same():
  before, _ = around('{{ strftime_now("%d %b %Y") }}: {{ messages[0].content }}')
  assert before == '26 Jul 2024: '


def test_spaces_around_the_message_are_the_templates():
  assert around('a {{ messages[0].content | trim }} b') == ('a ', ' b')


@pytest.mark.parametrize(
  ('source', 'message'),
  [
    ('{% for', 'chat.jinja: the chat template says: '),
    ('{{ raise_exception("only with tools") }}', 'template says: only with tools'),
    ('{{ messages[0].content + 1 }}', 'chat.jinja: the chat template says'),
    ('{{ messages[0].content }}' * 2, 'a message of the user 2 times; expected once'),
    ('{{ messages[0].content | lower }}', 'a message of the user 0 times'),
    ('{{ 1 / 0 }}', 'chat.jinja: the chat template says: division by zero'),
    ('{{ "{0}".format() }}', 'chat.jinja: the chat template says'),
    ('{{ messages.append(1) }}', 'chat.jinja: the chat template says: access to'),
  ],
)
def test_templates_that_cannot_be_used(source, message):
  with pytest.raises(ValueError, match=message):
    around(source)


def write(folder, **settings):
  (folder / 'tokenizer_config.json').write_text(json.dumps(settings))
  return str(folder)


def test_folders(tmp_path):
  assert chat_template.chat_of_folder(str(tmp_path)) is None
  assert chat_template.chat_of_folder(write(tmp_path, eos_token='</s>')) is None
  sign = {'content': '<s>', 'special': True}
  folder = write(tmp_path, bos_token=sign, chat_template='a', pad_token=None)
  file = f'{tmp_path}/tokenizer_config.json'
  assert chat_template.chat_of_folder(folder) == ('a', {'bos_token': '<s>'}, file)
  several = [{'name': 'tools', 'template': 'b'}, {'name': 'default', 'template': 'c'}]
  assert (
    chat_template.chat_of_folder(write(tmp_path, chat_template=several)).source == 'c'
  )
  assert (
    chat_template.chat_of_folder(write(tmp_path, chat_template=several[:1])) is None
  )
  (tmp_path / 'chat_template.jinja').write_text('d')  # newer folders have this file
  assert chat_template.chat_of_folder(folder).source == 'd'


def test_gguf_files(tmp_path):
  writer = gguf.GGUFWriter(str(tmp_path / 'x.gguf'), 'llama')
  writer.add_chat_template('a')
  writer.add_token_list(['<unk>', '<s>', '</s>'])
  writer.add_bos_token_id(1)
  writer.add_pad_token_id(2**32 - 1)  # as some files say that there is none
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()
  fields = gguf.GGUFReader(str(tmp_path / 'x.gguf')).fields
  read = lambda key: fields[key].contents() if key in fields else None
  found = chat_template.chat_of_gguf(read, 'x.gguf')
  assert found == ('a', {'bos_token': '<s>'}, 'x.gguf')
  pieces = {'tokenizer.ggml.model': 'llama', 'tokenizer.chat_template': 'a'}
  pieces['tokenizer.ggml.tokens'] = ['<unk>', '<s>', '</s>']
  usual = {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>'}
  assert chat_template.chat_of_gguf(pieces.get, 'x.gguf').signs == usual
  assert chat_template.chat_of_gguf(lambda _: None, 'x.gguf') is None
