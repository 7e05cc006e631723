"""CPU time of commands that compute nothing: help, config errors, a second run; of an earlier commit too, if asked."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.hardware import hardware, result_path

ROOT = Path(__file__).parents[1]
CONFIG = "configs/quickstart.yaml"
SMALL = ["generate.generator.queries=300", "train.epochs=1", "train.batch_size=32"]
REPEATS = 5


def commands(folder: Path) -> dict[str, list[str]]:
    """The arguments of each command; ``folder`` holds the storage of a finished run, and documents."""
    storage = f"storage_path={folder / 'storage'}"
    return {
        "--help": ["--help"],
        "--version": ["--version"],
        "show train.learning_rate": ["show", "train.learning_rate"],
        "show losses kl": ["show", "losses", "kl"],
        "a typo in a key": ["run", CONFIG, storage, "trian.epochs=3"],
        "an unknown component": ["run", CONFIG, storage, "train.loss=[{name: lk}]"],
        "a wrong type": ["run", CONFIG, storage, "train.epochs=many"],
        "init": ["init", str(folder / "docs"), "--output", str(folder / "docs.yaml")],
        "plan, again": ["plan", CONFIG, storage, *SMALL],
        "run, again": ["run", CONFIG, storage, *SMALL],
        "search, a query": ["search", str(folder / "storage" / "runs" / "quickstart"), "wait", "for", "a", "process"],
    }


def measure(code: Path) -> dict[str, float]:
    """Median seconds of CPU, user and system, of each command with the gradret in ``code``."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "docs").mkdir()
        (folder / "docs" / "a.txt").write_text("A wing in a slipstream gains lift.", encoding="utf-8")
        every = commands(folder)
        # Once before: computes the run and the plan, and compiles the modules.
        for arguments in [every["run, again"], *every.values()]:
            cpu_seconds(code, arguments, folder)
        return {
            what: statistics.median(cpu_seconds(code, arguments, folder) for _ in range(REPEATS))
            for what, arguments in every.items()
        }


def cpu_seconds(code: Path, arguments: list[str], folder: Path) -> float:
    """Seconds of CPU that one command takes, with its own processes."""
    (folder / "docs.yaml").unlink(missing_ok=True)
    # With compiled modules, as users have them.
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(code)
    process = subprocess.Popen(
        [sys.executable, "-m", "gradret.cli", *arguments],
        cwd=code, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, _, used = os.wait4(process.pid, 0)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", metavar="COMMIT", help="a commit to compare with")
    commit = parser.parse_args().before
    result = ({commit: measure_commit(commit)} if commit else {}) | {"now": measure(ROOT)}
    result_path("startup", "json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = markdown(result)
    result_path("startup", "md").write_text(table, encoding="utf-8")
    print(table)


def measure_commit(commit: str) -> dict[str, float]:
    """``measure`` of a commit, in a worktree of its own."""
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", before, commit], cwd=ROOT, check=True)
        try:
            return measure(before)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", before], cwd=ROOT, check=True)


def markdown(result: dict[str, dict[str, float]]) -> str:
    """The result file."""
    *commits, _ = result
    lines = [
        "# CPU time of commands that compute nothing",
        "",
        f"{hardware()}. Command: `python -m benchmarks.startup{''.join(f' --before {each}' for each in commits)}`.",
        "",
        f"User and system seconds of the whole process, median of {REPEATS}. The run is {CONFIG} with",
        f"{' '.join(SMALL)}.",
        "",
        f"| command | {' | '.join(result)} |",
        "|---" * (1 + len(result)) + "|",
        *(f"| {what} | {' | '.join(f'{each[what]:.2f}' for each in result.values())} |" for what in result["now"]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
