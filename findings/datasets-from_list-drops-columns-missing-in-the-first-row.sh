#!/usr/bin/env bash
# Dataset.from_list (and from_generator) takes its columns from the first row: a field that only later rows have is
# dropped without a word, while the JSON loader keeps it from the same rows. It matters for records with optional
# fields, such as titles or hard negatives.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6

python - <<'PYTHON'
import json, pathlib
import datasets
from datasets import Dataset, load_dataset

datasets.disable_progress_bars()
rows = [{"text": "a"}, {"text": "b", "title": "t"}]
pathlib.Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
seen = {
    "from_list": Dataset.from_list(rows).column_names,
    "from_generator": Dataset.from_generator(lambda: iter(rows), cache_dir="cache").column_names,
    "json": load_dataset("json", data_files="rows.jsonl", split="train", cache_dir="cache").column_names,
}
print(f"datasets {datasets.__version__}: columns of {rows}: {seen}")
assert seen == {"from_list": ["text"], "from_generator": ["text"], "json": ["text", "title"]}
PYTHON
