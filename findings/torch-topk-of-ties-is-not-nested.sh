#!/usr/bin/env bash
# Among equal scores torch.topk on the CPU takes neither the first ones nor, for another k, the same ones: the top 1
# need not be among the top 2. argmax, and sort with stable=True, take the first. It matters for runs with ties:
# results at 10 are not the head of results at 100, and differ from those of other tools.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import torch

scores = torch.zeros(100)
seen = {k: scores.topk(k).indices.tolist() for k in (1, 2, 5)}
stable = scores.sort(descending=True, stable=True).indices[:5].tolist()
print(f"torch {torch.__version__}: topk of 100 equal scores by k: {seen}; stable sort: {stable}")
assert stable == [0, 1, 2, 3, 4]
assert not set(seen[1]) <= set(seen[2])
assert set(seen[5]) != set(stable)
PYTHON
