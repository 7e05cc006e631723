#!/usr/bin/env bash
# ModelCard reads its metadata by YAML 1.1: "language: no" is False, a version of 1.10 is 1.1 and a dated tag a date
# object, and save writes them back as such. It matters for tools that edit model cards: the language of a Norwegian
# model is lost by loading and saving.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages huggingface_hub==2.4.0

python - <<'PYTHON'
import pathlib
import huggingface_hub
from huggingface_hub import ModelCard

pathlib.Path("README.md").write_text("---\nlanguage: no\nversion: 1.10\ntags:\n- 2024-01-01\n---\n# A model\n")
card = ModelCard.load("README.md")
read = card.data.to_dict()
card.save("README.md")
saved = pathlib.Path("README.md").read_text()
print(
    f"huggingface_hub {huggingface_hub.__version__}: 'language: no', 'version: 1.10' and a tag 2024-01-01 are read as {read}"
)
print(f"  and saved as {saved.splitlines()[1:5]}")
assert read["language"] is False and read["version"] == 1.1 and str(type(read["tags"][0])) == "<class 'datetime.date'>"
assert "language: false" in saved and "version: 1.1\n" in saved
PYTHON
