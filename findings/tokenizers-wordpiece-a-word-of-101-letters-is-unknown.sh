#!/usr/bin/env bash
# WordPiece does not try to split a word of more than 100 characters: it becomes a single [UNK], though 100 characters
# of the same letters are 100 known pieces. It matters for protein and DNA sequences, hashes and long identifiers,
# which all get the same vector.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages tokenizers==0.23.3

python - <<'PYTHON'
import tokenizers
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer

letters = "acgt"
words = ["[UNK]", *letters, *(f"##{letter}" for letter in letters)]
tokenizer = Tokenizer(WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = BertPreTokenizer()
short, long, other = (tokenizer.encode(text).tokens for text in ("acgt" * 25, "acgt" * 25 + "a", "ttga" * 30))
print(
    f"tokenizers {tokenizers.__version__}: 100 letters: {len(short)} tokens; 101 letters: {long}; another 120: {other}"
)
assert len(short) == 100 and "[UNK]" not in short
assert long == other == ["[UNK]"]
PYTHON
