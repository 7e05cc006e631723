#!/usr/bin/env bash
# torch's normalize and cosine_similarity guard against a zero norm with eps 1e-12 and 1e-8; both are 0 in float16, so
# an empty text's zero vector becomes nan in float16, while float32 and bfloat16 give 0. It matters when embeddings are
# normalised after the cast to half: one nan spoils a whole ranking.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import torch
from torch.nn.functional import cosine_similarity, normalize

seen = {}
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    zero, one = torch.zeros(1, 4, dtype=dtype), torch.ones(1, 4, dtype=dtype)
    seen[dtype] = normalize(zero)[0, 0].item(), cosine_similarity(zero, one).item()
print(f"torch {torch.__version__}: (normalize, cosine_similarity) of a zero vector: {seen}")
assert seen[torch.float32] == seen[torch.bfloat16] == (0, 0)
assert all(value != value for value in seen[torch.float16])
PYTHON
