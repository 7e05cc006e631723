#!/usr/bin/env bash
# With one seed, torch.randn(15) shares no number with torch.randn(64), and torch.randn(33) only its first 17: a size
# under 16 takes another algorithm, and the last 16 numbers of a size that is no multiple of 16 are drawn again.
# torch.rand has no such rule. It matters for seeded rows: adding a token or a document changes the vectors of those
# before it.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import torch


def draw(function, size):
    return function(size, generator=torch.Generator().manual_seed(1))


shared = {}
for name, function in (("randn", torch.randn), ("rand", torch.rand)):
    long = draw(function, 64)
    shared[name] = {size: int((draw(function, size) == long[:size]).sum()) for size in (15, 16, 17, 32, 33)}
print(f"torch {torch.__version__}: numbers shared with the first of 64 under the same seed, by size: {shared}")
assert shared["randn"] == {15: 0, 16: 16, 17: 1, 32: 32, 33: 17}
assert shared["rand"] == {size: size for size in (15, 16, 17, 32, 33)}
PYTHON
