#!/usr/bin/env bash
# The normalizer of uncased BERT models (all-MiniLM-L6-v2 among them) strips accents by Unicode class, in every script:
# Japanese bread, van and "half" become one word, as do Thai "wood" and "not", and Korean syllables fall apart into
# letters that stay apart. It matters for any uncased model on a multilingual corpus: different words get the same
# tokens, whatever the vocabulary holds.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages tokenizers==0.23.3

python - <<'PYTHON'
import tokenizers
from tokenizers.normalizers import BertNormalizer

uncased = BertNormalizer(lowercase=True)
seen = {word: uncased.normalize_str(word) for word in ("パン", "バン", "ハン", "ไม้", "ไม่", "한국", "é", "ø")}
print(f"tokenizers {tokenizers.__version__}: BertNormalizer(lowercase=True) gives {seen}")
print(f"  characters of 한국 before and after: 2, {len(seen['한국'])}")
assert seen["パン"] == seen["バン"] == seen["ハン"] == "ハン"
assert seen["ไม้"] == seen["ไม่"]
assert len(seen["한국"]) == 6
assert (seen["é"], seen["ø"]) == ("e", "ø")
PYTHON
