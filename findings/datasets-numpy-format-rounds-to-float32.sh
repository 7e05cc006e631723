#!/usr/bin/env bash
# with_format("numpy") returns float64 columns as float32, and whole numbers too as soon as one value is missing: ids
# above 2**24 then come back as their neighbours. Without a format, or with dtype=numpy.float64, they are exact. It
# matters for numeric ids, timestamps and scores compared for equality.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6

python - <<'PYTHON'
import datasets, numpy
from datasets import Dataset

ids = [16_777_217, None]
data = Dataset.from_dict({"id": ids, "score": [0.1, 0.2]})
plain, formatted, wide = data[:], data.with_format("numpy")[:], data.with_format("numpy", dtype=numpy.float64)[:]
print(f"datasets {datasets.__version__}: stored {plain}")
print(
    f"  with_format('numpy'): id {formatted['id'].dtype} {formatted['id'].tolist()}, score {formatted['score'].dtype}"
)
assert plain["id"] == ids
assert formatted["id"].dtype == formatted["score"].dtype == numpy.float32 and formatted["id"][0] == 16_777_216
assert wide["id"][0] == 16_777_217
PYTHON
