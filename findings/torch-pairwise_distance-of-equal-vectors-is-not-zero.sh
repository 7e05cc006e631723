#!/usr/bin/env bash
# torch's pairwise_distance (and TripletMarginLoss, which calls it) adds 1e-6 to every difference, so two equal vectors
# of d numbers are 1e-6 * sqrt(d) apart, and swapping the arguments changes the result. It matters for duplicates found
# by distance and for comparing losses between libraries.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import torch
from torch.nn.functional import pairwise_distance

vector, other = torch.zeros(1, 400), torch.full((1, 400), 1e-6)
same = pairwise_distance(vector, vector).item()
there, back = pairwise_distance(other, vector).item(), pairwise_distance(vector, other).item()
print(f"torch {torch.__version__}: distance of a vector to itself {same:.2e}; a to b {there:.2e}, b to a {back:.2e}")
assert abs(same - 2e-5) < 1e-9
assert abs(there - 4e-5) < 1e-9 and back < 1e-9
PYTHON
