#!/usr/bin/env bash
# load_dataset("json") turns a column of strings into timestamps if all of them look like dates: ids such as
# "2020-01-01" come back as datetime objects. One id of another form keeps the column as strings, so a sample and the
# whole can differ. It matters for ids of news or log documents, which no longer match those of the judgments.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages datasets==5.2.0 pyarrow==26.0.1 numpy==2.4.6

python - <<'PYTHON'
import json, pathlib
import datasets
from datasets import load_dataset

datasets.disable_progress_bars()


def ids(name, values):
    pathlib.Path(f"{name}.jsonl").write_text("".join(json.dumps({"id": value}) + "\n" for value in values))
    return load_dataset("json", data_files=f"{name}.jsonl", split="train", cache_dir="cache")["id"][:]


dates, mixed = ids("dates", ["2020-01-01", "2020-01-02"]), ids("mixed", ["2020-01-01", "2020-01-02b"])
print(
    f"datasets {datasets.__version__}: ids '2020-01-01', '2020-01-02' come back as {dates}; with '2020-01-02b' instead as {mixed}"
)
assert str(dates[0]) == "2020-01-01 00:00:00"
assert mixed == ["2020-01-01", "2020-01-02b"]
PYTHON
