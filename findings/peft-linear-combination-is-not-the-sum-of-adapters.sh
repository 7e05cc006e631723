#!/usr/bin/env bash
# add_weighted_adapter with combination_type="linear" adds the A and the B matrices of LoRA adapters separately: the
# product has cross terms, so adapters merged with weights of 1 and 1 are not the sum of what they change. "cat" gives
# the sum. It matters for merging retrievers trained on different domains.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages peft==0.21.2 transformers==5.23.0 torch==2.13.0 numpy==2.4.6

python - <<'PYTHON'
import peft, torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertModel

torch.manual_seed(0)
base = BertModel(
    BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=100)
)
lora = LoraConfig(r=4, target_modules=["query"], init_lora_weights=False)
model = get_peft_model(base, lora, adapter_name="one")
model.add_adapter("two", lora)
layer = base.encoder.layer[0].attention.self.query
total = layer.get_delta_weight("one") + layer.get_delta_weight("two")
seen = {}
for kind in ("linear", "cat"):
    model.add_weighted_adapter(["one", "two"], [1.0, 1.0], kind, combination_type=kind)
    seen[kind] = ((layer.get_delta_weight(kind) - total).norm() / total.norm()).item()
print(f"peft {peft.__version__}: distance to the sum of two adapters, over its norm, by combination_type: {seen}")
assert seen["linear"] > 0.5 and seen["cat"] < 1e-5
PYTHON
