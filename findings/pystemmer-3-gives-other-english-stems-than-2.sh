#!/usr/bin/env bash
# The algorithm "english" of PyStemmer 3.1.0 is another one than that of 2.2.0.3: university and universe no longer
# meet, emergency and emerge no longer either, added and add now do. It matters for an index stemmed before an upgrade
# and queries stemmed after it, and for BM25 baselines quoted from papers: neither names the version.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages PyStemmer==3.1.0

python - <<'PYTHON'
import subprocess, sys
import Stemmer

words = ["university", "universe", "evening", "even", "emergency", "emerge", "added", "add"]
new = Stemmer.Stemmer("english").stemWords(words)
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--quiet", "--disable-pip-version-check", "--target", "old"]
subprocess.run([*pip, "PyStemmer==2.2.0.3"], check=True)
code = (
    "import sys; sys.path.insert(0, 'old'); import Stemmer; print(*Stemmer.Stemmer('english').stemWords(sys.argv[1:]))"
)
old = subprocess.run([sys.executable, "-c", code, *words], check=True, capture_output=True, text=True).stdout.split()
print(f"PyStemmer 2.2.0.3: {dict(zip(words, old))}")
print(f"PyStemmer {Stemmer.version()}: {dict(zip(words, new))}")
assert old == ["univers", "univers", "even", "even", "emerg", "emerg", "ad", "add"]
assert new == ["universiti", "univers", "evening", "even", "emergenc", "emerg", "add", "add"]
PYTHON
