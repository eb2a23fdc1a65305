"""Pins the images of a Dockerfile by the digests that their registries have now.

    python3 cloud/pin_images.py Dockerfile

Needs crane, skopeo or docker with buildx, whichever is there, and the registries.
A digest that stands there already is replaced by the tag's digest of today.
"""

import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable

# What each asks for the digest of an image; IMAGE stands for it.
_TOOLS = {
  'crane': 'digest IMAGE',
  'skopeo': 'inspect --no-tags --format {{.Digest}} docker://IMAGE',
  'docker': 'buildx imagetools inspect --format {{.Manifest.Digest}} IMAGE',
}
# A name with a registry, a folder or a tag; other words are stages of the Dockerfile.
_IMAGE = re.compile(
  r'^(FROM\s+(?:--\S+\s+)*|COPY\s.*?--from=)'
  r'([\w.-]+(?:[/:][\w.-]+)+)(?:@sha256:\w+)?(?=\s|$)',
  re.MULTILINE,
)
_DIGEST = re.compile(r'sha256:[0-9a-f]{64}')


def pin(dockerfile: str, digest: Callable[[str], str]) -> str:
  """Writes the digest of each image behind its tag.

  Args:
    dockerfile: its text.
    digest: image with its tag -> 'sha256:...'.
  """
  return _IMAGE.sub(
    lambda found: f'{found[1]}{found[2]}@{digest(found[2])}', dockerfile
  )


def ask(image: str) -> str:
  """Asks the image's registry for its digest.

  Raises:
    SystemExit: no tool is there, or the registry does not answer.
  """
  tool = next(filter(shutil.which, _TOOLS), None)
  if not tool:
    raise SystemExit(f'error: none of {", ".join(_TOOLS)} is here to ask a registry')
  command = [tool, *_TOOLS[tool].replace('IMAGE', image).split()]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  if done.returncode or not _DIGEST.fullmatch(done.stdout.strip()):
    said = (done.stderr or done.stdout).strip().split('\n')[0]
    raise SystemExit(f'error: no digest of {image} from {tool}: {said}')
  return done.stdout.strip()


if __name__ == '__main__':
  path = pathlib.Path(sys.argv[1])
  path.write_text(pin(path.read_text(), ask))
