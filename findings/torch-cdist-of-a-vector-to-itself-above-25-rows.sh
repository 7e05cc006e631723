#!/usr/bin/env bash
# torch.cdist computes differences up to 25 rows and from 26 rows on |a|^2 + |b|^2 - 2ab, so the distance of a vector
# to itself is exactly 0 in a small test and not in a batch. It matters for duplicate checks by a distance threshold
# and for nearest neighbours that skip distance 0.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import torch

torch.manual_seed(0)
vectors = torch.randn(26, 384)
few = torch.cdist(vectors[:25], vectors[:25]).diagonal().max().item()
many = torch.cdist(vectors, vectors).diagonal().max().item()
exact = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist").diagonal().max().item()
print(
    f"torch {torch.__version__}: largest distance of a vector to itself: 25 rows {few}, 26 rows {many}, exact mode {exact}"
)
assert few == 0 and exact == 0
assert 1e-3 < many < 0.1
PYTHON
