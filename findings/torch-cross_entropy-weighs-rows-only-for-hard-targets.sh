#!/usr/bin/env bash
# torch's cross_entropy with class weights divides by the sum of the weights for class indices, but by the number of
# rows for the same targets written as one-hot probabilities. It matters when labels become soft: the same data and
# weights give a loss, and a learning rate, of another scale.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import torch
from torch.nn.functional import cross_entropy, one_hot

logits = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0]])
labels, weight = torch.tensor([0, 2]), torch.tensor([1.0, 1.0, 10.0])
hard = cross_entropy(logits, labels, weight=weight).item()
soft = cross_entropy(logits, one_hot(labels, 3).float(), weight=weight).item()
print(
    f"torch {torch.__version__}: weighted cross_entropy is {hard:.4f} for class indices and {soft:.4f} for their one-hot rows"
)
print(f"  ratio seen {soft / hard:.4f} = sum of the targets' weights (11) / rows (2)")
assert abs(soft / hard - 11 / 2) < 1e-4
PYTHON
