#!/usr/bin/env bash
# Dataset.map that returns strings for a column of integers leaves the column integers if the strings can be read as
# numbers: str(id) does nothing and "007" becomes 7. Strings that are no numbers are kept. It matters for ids made into
# strings to match judgments, or padded for sorting.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6

python - <<'PYTHON'
import datasets
from datasets import Dataset

datasets.disable_progress_bars()
data = Dataset.from_dict({"id": [7, 42]})
padded = data.map(lambda row: {"id": f"{row['id']:03}"})
named = data.map(lambda row: {"id": f"d{row['id']}"})
print(f"datasets {datasets.__version__}: map id to '007', '042': {padded['id'][:]}; to 'd7', 'd42': {named['id'][:]}")
assert padded["id"][:] == [7, 42]
assert named["id"][:] == ["d7", "d42"]
PYTHON
