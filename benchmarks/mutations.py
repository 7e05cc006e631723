"""Thousands of damaged inputs: each is read right, or refused in a line.

    python -m benchmarks.mutations [--cases 500] [--kinds corpus runs]

A case is a small valid file with one seeded mutation (``benchmarks.mutants``), given to gradret's real reader. Its
result must be what a plain reader says (``benchmarks.plain_readers``). Anything else is a fault: a wrong value, a
traceback, a hang of more than 60 seconds, the death of the process. Writes ``benchmarks/results/mutations_*``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.hardware import hardware, result_path
from benchmarks.mutants import KINDS, SEED, Case, make_case
from benchmarks.mutation_cases import FINE, REFUSED, verdict

__all__ = ["DEATH", "HANG", "verdicts"]

_SECONDS = 60
"""Limit of a case; the first one imports gradret."""


def verdicts(cases: list[Case], judge: Callable[[Case], str] = verdict) -> Iterator[tuple[Case, str]]:
    """Yield each case with what ``judge`` says of it.

    Another process does the work, so that a hang or a crash is a verdict too.
    """
    left = list(cases)
    while left:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, left, judge), daemon=True)
        process.start()
        theirs.close()
        while left:
            found = _answer(ours)
            yield left.pop(0), found
            if found in (HANG, DEATH):
                break
        process.kill()
        process.join()


HANG, DEATH = "hang", "the process died"


def _answer(connection: Connection) -> str:
    try:
        return str(connection.recv()) if connection.poll(_SECONDS) else HANG
    except EOFError:
        return DEATH


def _work(connection: Connection, cases: list[Case], judge: Callable[[Case], str]) -> None:
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        for case in cases:
            connection.send(judge(case))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=500, help="cases of each kind")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parsed = parser.parse_args()
    cases = [make_case(kind, number) for kind in parsed.kinds for number in range(parsed.cases)]
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in parsed.kinds}
    faults = []
    for case, found in verdicts(cases):
        counts[case.kind]["faults" if found not in (FINE, REFUSED) else found] += 1
        if found not in (FINE, REFUSED):
            faults.append({"kind": case.kind, "number": case.number, "mutation": case.mutation, "fault": found})
            print(f"{case.kind} {case.number} ({case.mutation}): {found}", file=sys.stderr)
    _write(counts, faults, parsed.cases)
    return 1 if faults else 0


def _write(counts: dict[str, Counter[str]], faults: list[dict[str, object]], cases: int) -> None:
    total = cases * len(counts)
    text = [
        "# Damaged inputs",
        "",
        f"{hardware()}. Command: `python -m benchmarks.mutations`.",
        "",
        f"{total:,} files with one mutation each (seed {SEED}), read by gradret's readers. `fine`: accepted, and each",
        "row and value is what a plain reader says; rows that cannot be used are quarantined. `refused`: one of",
        "gradret's errors, in a line, where the plain reader refuses the file too. `faults`: a wrong value, a",
        "traceback, a hang, a crash.",
        "",
        "| input | cases | fine | refused | faults |",
        "|---|---|---|---|---|",
        *(f"| {kind} | {cases} | {row[FINE]} | {row[REFUSED]} | {row['faults']} |" for kind, row in counts.items()),
    ]
    result_path("mutations", "md").write_text("\n".join(text) + "\n", encoding="utf-8")
    data = {"seed": SEED, "cases": cases, "counts": counts, "faults": faults}
    result_path("mutations", "json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    raise SystemExit(main())
