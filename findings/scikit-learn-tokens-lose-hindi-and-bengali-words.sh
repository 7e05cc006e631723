#!/usr/bin/env bash
# Python's \w leaves out vowel signs, so scikit-learn's default token pattern (two or more \w), which many BM25 tools
# share, tears words of Hindi, Bengali or Tamil apart and drops most of the pieces: "हिन्दी" gives no token at all. The
# regex package's \w keeps them whole. It matters for every index of these languages: most documents cannot be found,
# and no error is raised.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages scikit-learn==1.9.1 regex==2026.11.15 numpy==2.4.6

python - <<'PYTHON'
import re
import regex, sklearn
from sklearn.feature_extraction.text import TfidfVectorizer

texts = {"Hindi": "हिन्दी खोज इंजन", "Bengali": "বাংলা", "Tamil": "தமிழ் தேடல்", "English": "search engine"}
tokenize = TfidfVectorizer().build_tokenizer()
seen = {language: tokenize(text) for language, text in texts.items()}
whole = {language: regex.findall(r"\w\w+", text) for language, text in texts.items()}
print(f"scikit-learn {sklearn.__version__}: tokens of {texts}: {seen}")
print(f"  regex {regex.__version__}: {whole}")
assert seen == {"Hindi": ["जन"], "Bengali": [], "Tamil": ["தம", "டல"], "English": ["search", "engine"]}
assert all(whole[language] == text.split() for language, text in texts.items())
assert re.findall(r"\w+", "हिन्दी") == ["ह", "न", "द"]
PYTHON
