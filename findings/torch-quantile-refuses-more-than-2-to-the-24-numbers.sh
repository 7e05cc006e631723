#!/usr/bin/env bash
# torch.quantile takes at most 2**24 (16.8 million) numbers and raises for more, far below any memory limit, while
# median and kthvalue take them. It matters for a percentile over all scores of a run: a threshold that was tested on a
# sample fails on the whole (kthvalue or a sort does it).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import torch

torch.quantile(torch.zeros(2**24), 0.5)
scores = torch.zeros(2**24 + 1)
try:
    torch.quantile(scores, 0.5)
    seen = "no error"
except RuntimeError as error:
    seen = str(error)
print(f"torch {torch.__version__}: quantile of 2**24 numbers works, of one more: {seen!r}")
assert "too large" in seen
assert scores.median() == scores.kthvalue(2**23).values == 0
PYTHON
