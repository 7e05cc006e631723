#!/usr/bin/env bash
# With pandas installed, pyarrow imports it as soon as it converts a Python value: pa.array([1]), and a comparison of a
# column with the number 1, take 0.4 s and more once, where a comparison of two columns imports nothing. It matters for
# commands that should start fast: filter by columns or by scalars that pyarrow made, or leave pandas out.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6

cat > one.py <<'PYTHON'
import sys
from io import BytesIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

table = csv.read_csv(BytesIO(b"grade,other\n1,1\n2,3\n"))
if sys.argv[1] == "columns":
    kept = table.filter(pc.equal(table["grade"], table["other"]))
else:
    kept = table.filter(pc.equal(table["grade"], 1))
assert kept.num_rows == 1
print("imports pandas" if "pandas" in sys.modules else "does not import pandas")
PYTHON
columns=$(python one.py columns)
number=$(python one.py number)
python -c 'import pyarrow; print(f"pyarrow {pyarrow.__version__}:")'
echo "comparing two columns $columns; comparing a column with 1 $number"
test "$columns" = "does not import pandas" && test "$number" = "imports pandas"
