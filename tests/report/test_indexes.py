"""The table of indexes, from the notes of searches."""

import re

from gradret.report.indexes import indexes
from gradret.report.page import page
from gradret.stats.significance import results
from gradret.store.artifacts import make
from tests.report.test_page import config

NOTES = {
    "factory": "IVF4,SQ8", "why": "auto: too many", "shards": 2, "vectors": 1000, "parameters": "nprobe=4",
    "queries": 12, "k": 100, "recall@10": 0.9321, "recall@k": 0.8751, "milliseconds_alone": 3.21,
    "milliseconds_batched": 0.45, "bytes": {"vectors": 16 << 20, "index": 5 << 20, "ids": 1 << 20},
}  # fmt: skip


def artifact(storage, name, notes):
    def body(draft):
        draft.notes |= notes

    made = {"module": "gradret.text", "settings": {"name": name}, "inputs": {}, "body": body}
    return make("search", str(storage), **made)


def test_what_was_noted_is_shown(tmp_path):
    flat = NOTES | {"factory": "Flat", "parameters": "", "recall@10": 1.0, "bytes": NOTES["bytes"] | {"index": 0}}
    made = {
        "search.bm25": artifact(tmp_path, "bm25", {}),
        "search.base": artifact(tmp_path, "base", {"index": flat}),
        "search.tuned": artifact(tmp_path, "tuned", {"index": NOTES}),
    }
    base, tuned = indexes(made)
    assert (base["system"], base["mib"], base["a_vector"], base["disk_mib"]) == ("base", 16, (16 << 20) / 1000, 17)
    assert (tuned["system"], tuned["mib"], tuned["disk_mib"]) == ("tuned", 5, 22)
    html = page(config(tmp_path), made, results({}, (), 0), {}, "")
    section = re.search(r'<section id="indexes">.*?</section>', html, re.DOTALL)[0]
    cells = [re.sub("<[^>]+>", " ", cell).split() for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", section, re.DOTALL)]
    shown = [" ".join(cell) for cell in cells[20:]]
    assert shown[:8] == ["tuned", "IVF4,SQ8 auto: too many", "nprobe=4", "2", "0.932", "0.875", "3.21", "0.45"]
    assert "bm25" not in section
    assert 'id="indexes"' not in page(
        config(tmp_path), {"search.bm25": made["search.bm25"]}, results({}, (), 0), {}, ""
    )
