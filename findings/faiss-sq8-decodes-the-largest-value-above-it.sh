#!/usr/bin/env bash
# FAISS's 8-bit scalar quantizer cuts a dimension's trained range into 255 steps and decodes a code to the middle of its
# step. The largest trained value is the only one with code 255, and the middle of that step lies beyond the range; the
# lowest value comes back half a step above itself. It matters for SQ8 indexes: neither end of the range is exact, the
# inner product of a unit vector with itself can exceed 1, and codes by the usual formula, which rounds to the nearest of
# 256 levels from end to end, are not FAISS's: 0.5 has 127 here and 128 there.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages faiss-cpu==1.15.1 numpy==2.4.6

python - <<'PYTHON'
import faiss, numpy

vectors = numpy.array([[0.0], [0.5], [1.0]], numpy.float32)
quantizer = faiss.ScalarQuantizer(1, faiss.ScalarQuantizer.QT_8bit)
quantizer.train(vectors)
codes = quantizer.compute_codes(vectors)
decoded = quantizer.decode(codes)[:, 0]
unit = faiss.IndexScalarQuantizer(1, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
unit.train(vectors)
unit.add(vectors)
(best,), _ = unit.search(numpy.array([[1.0]], numpy.float32), 1)
print(f"faiss {faiss.__version__}: 0, 0.5 and 1 become the codes {codes[:, 0].tolist()}, which decode to {decoded.tolist()}")
print(f"  inner product of 1 with the stored 1: {best[0]}")
assert codes[:, 0].tolist() == [0, 127, 255]
assert numpy.floor(vectors[1, 0] * 255 + 0.5) == 128
assert numpy.allclose(decoded, [0.5 / 255, 127.5 / 255, 255.5 / 255])
assert decoded[2] > 1 and best[0] > 1
PYTHON
