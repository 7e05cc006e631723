"""Draw the pictures of README and docs/: ``python docs/pictures.py`` writes docs/results.svg and docs/flow.svg.

The numbers are those of the newest benchmarks/results/quality_*.json. Both pictures bring their own background, so they
can be read on light and on dark pages.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
STYLE = """
  svg { --page: #ffffff; --ink: #1f2937; --soft: #5b6472; --line: #d5dae1; --box: #f3f5f8;
    --mark: #2563eb; --bar: #a9b4c2 }
  @media (prefers-color-scheme: dark) {
    svg { --page: #15181d; --ink: #e6e9ee; --soft: #a5aebb; --line: #3a424e; --box: #222831;
      --mark: #6ea0ff; --bar: #5a6675 }
  }
  text { font: 14px system-ui, sans-serif; fill: var(--ink) }
  .soft { fill: var(--soft) }
  .strong { font-weight: 600 }
  .box { fill: var(--box); stroke: var(--line) }
  .arrow { stroke: var(--soft); fill: none; stroke-width: 1.5 }
  .head { fill: var(--soft) }
"""
SYSTEMS = {
    "bm25": "BM25",
    "minilm": "MiniLM",
    "base": "student before",
    "tuned": "student after",
    "teacher": "its teacher",
}
ROWS = [
    ("Documents", ["ingest", "dedupe"], "the corpus, without copies"),
    ("Queries", ["generate", "leaks"], "queries about documents"),
    ("Lists", ["mine", "label", "select"], "documents with grades"),
    ("Student", ["base", "train"], "a sentence-transformers folder"),
    ("Index", ["index", "search"], "ranked documents"),
    ("Measure", ["evaluate", "report"], "nDCG@10 before and after"),
]


def results() -> str:
    """nDCG@10 of every system on every collection, as bars."""
    file = max((ROOT / "benchmarks" / "results").glob("quality_*.json"))
    collections = json.loads(file.read_text(encoding="utf-8"))
    lines = [_text(16, 28, "nDCG@10 on test queries, one seed", "strong"), _text(16, 47, file.stem, "soft")]
    for number, one in enumerate(collections):
        left, top = 16 + number % 2 * 232, 80 + number // 2 * 162
        lines.append(_text(left, top, f"{one['name']}, {one['queries']} queries", "soft"))
        for row, (system, label) in enumerate(SYSTEMS.items()):
            value, y = one["systems"][system]["nDCG@10"], top + 12 + row * 25
            strong, colour = ("strong", "--mark") if system == "tuned" else ("", "--bar")
            lines.append(_text(left, y + 15, label, strong))
            lines.append(
                f'<rect x="{left + 112}" y="{y + 2}" width="{60 * value:.1f}" height="17" rx="2" '
                f'style="fill: var({colour})"/>'
            )
            lines.append(_text(round(left + 117 + 60 * value, 1), y + 15, f"{value:.3f}", strong))
    return _svg(470, 396, "nDCG@10 before and after training on four collections", lines)


def flow() -> str:
    """The stages, and what each row of them makes."""
    lines = []
    for row, (title, stages, makes) in enumerate(ROWS):
        y = 14 + row * 86
        lines += [_text(16, y + 14, title, "strong"), _text(110, y + 14, makes, "soft")]
        for place, stage in enumerate(stages):
            x = 16 + place * 104
            lines.append(f'<rect class="box" x="{x}" y="{y + 24}" width="84" height="36" rx="5"/>')
            lines.append(_text(x + 42, y + 47, stage, "", "middle"))
            if place:
                lines += _arrow(x - 20, y + 42, x - 1, y + 42)
        if row + 1 < len(ROWS):
            lines += _arrow(58, y + 60, 58, y + 84)
    lines.append(_text(76, 14 + 4 * 86 + 76, "test judgments are read from here on", "soft"))
    return _svg(400, 14 + len(ROWS) * 86 - 12, "The stages of gradret and what they make", lines)


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    classes = f' class="{style}"' if style else ""
    anchored = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:g}" y="{y:g}"{classes}{anchored}>{escape(text)}</text>'


def _arrow(x1: int, y1: int, x2: int, y2: int) -> list[str]:
    across = "-5,-4 -5,4" if y1 == y2 else "-4,-5 4,-5"
    points = " ".join(f"{x2 + int(x)},{y2 + int(y)}" for x, y in (point.split(",") for point in across.split()))
    return [
        f'<path class="arrow" d="M{x1} {y1}L{x2} {y2}"/>',
        f'<polygon class="head" points="{x2},{y2} {points}"/>',
    ]


def _svg(width: int, height: int, title: str, lines: list[str]) -> str:
    size = f'width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" rx="8" style="fill: var(--page)"/>',
            *lines,
            "</svg>\n",
        ]
    )


PICTURES = {"results.svg": results, "flow.svg": flow}

if __name__ == "__main__":
    for name, draw in PICTURES.items():
        (Path(__file__).parent / name).write_text(draw(), encoding="utf-8")
