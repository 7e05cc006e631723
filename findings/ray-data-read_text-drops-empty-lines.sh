#!/usr/bin/env bash
# ray.data.read_text leaves out empty lines by default (drop_empty_lines=True), those of spaces among them. It matters
# for files that are aligned by line, such as texts in one and ids or translations in the other: from the first empty
# line on, each text has its neighbour's id.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages "ray[data]==2.60.0" pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
export RAY_USAGE_STATS_ENABLED=0

python - <<'PYTHON'
import pathlib
import ray

ray.init(
    num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=100 * 2**20
)
pathlib.Path("lines.txt").write_text("one\n\n \nfour\n")


def read(**options):
    return [row["text"] for row in ray.data.read_text("lines.txt", **options).take_all()]


default, all_lines = read(), read(drop_empty_lines=False)
ray.shutdown()
print(f"ray {ray.__version__}: of four lines read_text gives {default}; with drop_empty_lines=False {all_lines}")
assert default == ["one", "four"]
assert all_lines == ["one", "", " ", "four"]
PYTHON
