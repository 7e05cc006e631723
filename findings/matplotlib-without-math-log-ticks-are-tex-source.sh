#!/usr/bin/env bash
# text.parse_math=False keeps a dollar sign in a label (a query, a file name) from being read as mathematics, but a
# logarithmic axis writes its own tick labels as mathematics, which then appear as TeX source. It matters for plots of
# latency or of learning rates: give such axes a formatter of their own.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages matplotlib==3.11.2 numpy==2.4.6

python - <<'PYTHON'
import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt


def labels(formatter=None):
    with matplotlib.rc_context({"text.parse_math": False}):
        figure, axis = plt.subplots()
        axis.plot([1e-4, 1e-2], [0, 1])
        axis.set_xscale("log")
        if formatter:
            axis.xaxis.set_major_formatter(formatter)
        figure.canvas.draw()
        return [tick.get_text() for tick in axis.get_xticklabels()]


default, plain = labels(), labels("{x:g}")
print(f"matplotlib {matplotlib.__version__}: labels of a log axis without mathematics: {default}; with '{{x:g}}': {plain}")
assert "$\\mathdefault{10^{-4}}$" in default and "0.0001" in plain
PYTHON
