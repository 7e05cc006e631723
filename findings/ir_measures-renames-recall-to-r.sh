#!/usr/bin/env bash
# ir_measures parses "Recall@2", "MRR@2" and "MAP@2" but answers as R@2, RR@2 and AP@2, so a score cannot be
# looked up by the name that was asked for. It matters wherever results are stored under the names in a configuration.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages ir_measures==0.4.3 pytrec_eval-terrier==0.5.11 numpy==2.4.6

python - <<'PYTHON'
import ir_measures

asked = ["Recall@2", "P@2", "MRR@2", "MAP@2", "NDCG@2"]
qrels, run = {"q": {"a": 1}}, {"q": {"a": 1.0, "b": 0.5}}
scores = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in asked], qrels, run)
answered = sorted(str(measure) for measure in scores)
print(f"ir_measures 0.4.3: asked for {asked}, answered under other names: seen {answered}")
assert answered == ["AP@2", "P@2", "R@2", "RR@2", "nDCG@2"]
PYTHON
