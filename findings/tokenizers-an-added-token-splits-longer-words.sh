#!/usr/bin/env bash
# A word given to add_tokens is cut out of longer words too, before the model sees them, even where the vocabulary
# holds the longer word: with "uber" added, "tuberous" is no longer one token, and its rest is tokenized as if a new
# word began. It matters when domain words are added to a retriever's vocabulary (AddedToken(word, single_word=True)
# does not cut).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages tokenizers==0.23.3

python - <<'PYTHON'
import tokenizers
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace


def tokens(*added):
    words = ["[UNK]", "tuberous", "t", "##uber", "##ous", "ous"]
    tokenizer = Tokenizer(WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.add_tokens(list(added))
    return tokenizer.encode("Tuberous").tokens


seen = {"nothing": tokens(), "uber": tokens("uber"), "uber, single_word": tokens(AddedToken("uber", single_word=True))}
print(f"tokenizers {tokenizers.__version__}: tokens of 'Tuberous' by what was added: {seen}")
assert seen == {"nothing": ["tuberous"], "uber": ["t", "uber", "ous"], "uber, single_word": ["tuberous"]}
PYTHON
