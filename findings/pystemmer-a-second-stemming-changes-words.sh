#!/usr/bin/env bash
# Snowball's English stemmer is not idempotent: collision, course and database are cut again when their stems are
# stemmed. It matters where text is stemmed by the indexer and again by the search library, or expansion terms are
# taken from a stemmed index: these words no longer meet the documents that hold them.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages PyStemmer==3.1.0

python - <<'PYTHON'
import Stemmer

stemmer = Stemmer.Stemmer("english")
words = ["collision", "course", "database", "accelerator", "agree"]
once = stemmer.stemWords(words)
twice = stemmer.stemWords(once)
print(f"PyStemmer {Stemmer.version()}: {words} once {once}, twice {twice}")
assert once == ["collis", "cours", "databas", "acceler", "agre"]
assert twice == ["colli", "cour", "databa", "accel", "agr"]
PYTHON
