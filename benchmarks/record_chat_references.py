"""Records transformers' rendering of chat templates with the means that models use.

Run it in an environment of its own:

    pip install transformers jinja2 gguf
    python -m benchmarks.record_chat_references SmolLM2-135M-Instruct.Q4_1.gguf

The templates below are ours, written with what the published ones of Llama 3, Gemma,
Qwen 3, Mistral and SmolLM3 use: filters, namespaces, loop controls, tests, settings
with defaults, the generation tag. SmolLM2's own template is taken from its file.
Writes `tests/persoma_tf/tokenizers/chat_references.json`.
"""

import json
import pathlib
import sys

import gguf
import tokenizers
import transformers

OUTPUT = pathlib.Path('tests/persoma_tf/tokenizers/chat_references.json')
SIGNS = {'bos_token': '<|begin|>', 'eos_token': '</s>'}
MESSAGE = ' Hello\n<b>"Jörg"</b> '
TEMPLATES = {
  'headers': """{{- bos_token }}
{%- set date_string = date_string if date_string is defined else '26 Jul 2024' %}
{%- if messages[0]['role'] == 'system' %}
  {%- set system = messages[0]['content'] | trim %}
  {%- set messages = messages[1:] %}
{%- else %}
  {%- set system = '' %}
{%- endif %}
{{- '<|head|>system<|end|>\\n\\nToday Date: ' + date_string + '\\n' + system }}
{{- '<|eot|>' }}
{%- if tools is not none %}{{ tools | tojson(indent=4) }}{% endif %}
{%- for message in messages %}
  {{- '<|head|>' + message['role'] + '<|end|>\\n\\n' + message['content'] + '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|head|>assistant<|end|>\\n\\n' }}
{%- endif %}
""",
  'turns': """{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{ raise_exception('System role not supported') }}
{% endif %}
{% for message in messages %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Roles must alternate user/assistant') }}
    {% endif %}
    {% set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{ '<turn>' + role + '\\n' }}
    {%- if message['content'] is string -%}
{{ message['content'] }}
    {%- elif message['content'] is iterable -%}
        {% for item in message['content'] %}{{ item['text'] | trim }}{% endfor %}
    {%- endif -%}
{{ '</turn>\\n' }}
{% endfor %}
{% if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}
""",
  'thinking': """{%- set ns = namespace(last=messages | length - 1) %}
{%- for message in messages[::-1] %}
  {%- set index = (messages | length - 1) - loop.index0 %}
  {%- if message.role == 'user' and not message.content.startswith('<tool>') %}
    {%- set ns.last = index %}
    {%- break %}
  {%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- if message.role == 'tool' %}{% continue %}{% endif %}
  {{- '<|im_start|>' ~ message.role ~ '\\n' ~ message.content ~ '<|im_end|>' ~ '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\\n' }}
  {%- if enable_thinking is defined and enable_thinking is false %}
    {{- '<think>\\n\\n</think>\\n\\n' }}
  {%- endif %}
{%- endif %}""",
  'instructions': """{% for m in messages %}{% if m['role'] == 'user' -%}
{{ (bos_token if loop.first else '') + '[INST] ' + m['content'] + ' [/INST]' }}
{%- else %}{% generation %}{{ m['content'] + eos_token }}{% endgeneration %}
{% endif %}{% endfor %}""",
}


def main() -> None:
  """Records."""
  file = pathlib.Path(sys.argv[1])
  field = gguf.GGUFReader(file).fields['tokenizer.chat_template']
  templates = {'smollm2': field.contents(), **TEMPLATES}
  alone = tokenizers.Tokenizer(tokenizers.models.WordLevel({'a': 0}, unk_token='a'))
  tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=alone, **SIGNS)
  ask = [{'role': 'user', 'content': MESSAGE}]
  rendered = {
    name: tokenizer.apply_chat_template(
      ask,
      chat_template=template,
      tokenize=False,
      add_generation_prompt=True,
      enable_thinking=False,
    )
    for name, template in templates.items()
  }
  content = {
    'transformers': transformers.__version__,
    'signs': SIGNS,
    'message': MESSAGE,
    'templates': templates,
    'rendered': rendered,
    'smollm2_ids': transformers.AutoTokenizer.from_pretrained(
      file.parent, gguf_file=file.name
    ).encode(rendered['smollm2'], add_special_tokens=False),
  }
  OUTPUT.write_text(json.dumps(content, indent=1, ensure_ascii=False) + '\n')


if __name__ == '__main__':
  main()
