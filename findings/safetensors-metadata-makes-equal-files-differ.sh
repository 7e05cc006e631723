#!/usr/bin/env bash
# safetensors writes its metadata in the random order of a hash map: the same tensors with the same metadata of several
# keys give other bytes at each save, while a file without metadata is the same each time. It matters when a model is
# identified by a hash of its file, or stored once by content.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages safetensors==0.8.0 numpy==2.4.6

python - <<'PYTHON'
import hashlib
import numpy, safetensors
from safetensors.numpy import load, save

tensors = {"embedding": numpy.arange(6, dtype=numpy.float32).reshape(2, 3)}
metadata = {f"key{number}": "value" for number in range(8)}


def files(metadata):
    return {save(tensors, metadata=metadata) for _ in range(20)}


plain, described = files(None), files(metadata)
print(
    f"safetensors {safetensors.__version__}: 20 saves give {len(plain)} file without metadata, {len(described)} with {len(metadata)} keys"
)
print(f"  sha256 seen: {sorted(hashlib.sha256(file).hexdigest()[:12] for file in described)[:4]} ...")
assert len(plain) == 1 < len(described)
assert all((load(file)["embedding"] == tensors["embedding"]).all() for file in described)
PYTHON
