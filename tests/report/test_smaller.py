"""The table of smaller vectors, in the page and in ``metrics.json``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gradret.report.run import report
from gradret.report.smaller import smaller_sizes
from gradret.store.artifacts import Artifact

from .html import read
from .test_page import config, whole_flow


def compared(storage: Path, *sizes: tuple[int, str, int, float, float | None]) -> Artifact:
    names = ("dimensions", "vectors", "bytes_a_document", "overlap@100", "nDCG@10")
    rows: list[dict[str, Any]] = [dict(zip(names, size, strict=True)) for size in sizes]
    notes = {"sizes": [row | {"bytes": 65536 * row["bytes_a_document"]} for row in rows]}
    manifest = {"notes": notes, "counts": {}, "quarantined": {}, "seconds": 1.0, "inputs": {}}
    return Artifact("smaller", "0a1b", storage / "artifacts" / "smaller" / "0a1b", manifest)


def test_the_page_and_metrics_json_tell_what_each_size_saves_and_loses(tmp_path: Path) -> None:
    made = compared(
        tmp_path, (640, "float32", 2560, 1.0, 0.5), (640, "int8", 640, 0.987, 0.5125), (64, "binary", 8, 0.4, 0.25)
    )
    folder = report(config(tmp_path), whole_flow(tmp_path) | {"smaller": made})
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert ("smaller", "Smaller vectors") in read(html).contents
    text = " ".join(re.sub(r"<[^>]+>", " ", html).split())
    assert "640 float32 2,560 160.00 100.0% 1.000 0.5000 –" in text
    assert "640 int8 640 40.00 25.0% 0.987 0.5125 +0.0125" in text
    assert "64 binary 8 0.50 0.3% 0.400 0.2500 -0.2500" in text
    assert "was not trained to be cut" in text
    sizes = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["smaller"]
    assert [size["difference"] for size in sizes] == pytest.approx([0, 0.0125, -0.25])
    assert sizes[2]["bytes_a_document"] == 8


def test_without_judgments_there_is_no_difference(tmp_path: Path) -> None:
    rows = smaller_sizes(
        {"smaller": compared(tmp_path, (640, "float32", 2560, 1.0, None), (64, "int8", 64, 0.5, None))}
    )
    assert [row["difference"] for row in rows] == [None, None]
    assert smaller_sizes({}) == []
