#!/usr/bin/env bash
# torch's kl_div takes a target of 0 as a term of 0 only while the student's log-probability there is finite: padding
# masked with -inf before the softmax on both sides gives 0 * -inf = nan, though the divergence is 0. It matters for
# lists of unequal length: one padded list turns the loss of the batch into nan (a large negative number instead of
# -inf does not).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import torch
from torch.nn.functional import kl_div, log_softmax, softmax


def loss(mask):
    scores = torch.tensor([[2.0, 1.0, mask]])
    return kl_div(log_softmax(scores, -1), softmax(scores, -1), reduction="batchmean").item()


seen = {mask: loss(mask) for mask in (float("-inf"), -1e9)}
print(f"torch {torch.__version__}: kl_div of a padded list and itself, by the mask's value: {seen}")
assert seen[float("-inf")] != seen[float("-inf")]
assert seen[-1e9] == 0
PYTHON
