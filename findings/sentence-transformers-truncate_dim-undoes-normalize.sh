#!/usr/bin/env bash
# truncate_dim cuts the vectors after the model's last module, a Normalize included, and nothing normalises them again:
# the vectors of a model that ends with Normalize then have different lengths below 1. It matters for models that search
# by inner product (similarity_fn_name "dot", FAISS's METRIC_INNER_PRODUCT): a text need not be its own nearest, and the
# ranking is not that of the cosine. normalize_embeddings=True of encode comes after the cut and mends it.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages sentence-transformers==6.2.0 transformers==5.23.0 tokenizers==0.23.3 torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import numpy, sentence_transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "mostly": 1, "hardly": 2}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
weights = numpy.array([[0, 0, 0], [2, 1, 0], [1, 0, 9]], numpy.float32)
modules = [StaticEmbedding(tokenizer, embedding_weights=weights), Normalize()]
model = SentenceTransformer(modules=modules, device="cpu", truncate_dim=2, similarity_fn_name="dot")
vectors = model.encode(["mostly", "hardly"])
similarity = model.similarity(vectors, vectors).numpy()
mended = model.encode(["mostly", "hardly"], normalize_embeddings=True)
print(f"sentence-transformers {sentence_transformers.__version__}: lengths {numpy.linalg.norm(vectors, axis=1).tolist()}")
print(f"  similarities of 'hardly' with 'mostly' and with itself: {similarity[1].tolist()}")
assert numpy.linalg.norm(vectors, axis=1)[1] < 0.2
assert similarity[1, 1] < similarity[1, 0]
assert numpy.allclose(numpy.linalg.norm(mended, axis=1), 1)
PYTHON
