"""The pages of ``llm_check``: counts, and samples of what the model wrote."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass

from gradret.stages.verdict import orders_sentence, signal_sentence
from gradret.store.artifacts import Artifact

SAMPLES = 12
_CHARS = 300


@dataclass(frozen=True)
class Job:
    """A job that was done."""

    name: str
    artifact: Artifact
    seconds: float
    stopped: str
    """Why its labels would stop a run; empty if they would not, or if it is no teacher."""

    @property
    def labels(self) -> bool:
        return self.artifact.stage == "label"


@dataclass(frozen=True)
class Compared:
    """A job's answers in process against those of the server."""

    job: str
    answers: int
    prompts: int
    """Prompts of the same number of tokens."""
    same: int
    """Answers that are the same word for word."""
    far: str
    different: list[tuple[str, str]]

    @property
    def begins(self) -> str:
        """Where the different answers begin to differ: the median, in characters."""
        at = [_common(*pair) for pair in self.different]
        return f"{statistics.median(at):.0f}" if at else ""


def counts_page(model: str, how: str, jobs: list[Job], compared: list[Compared]) -> str:
    """What may be committed: numbers alone."""
    lines = [
        "# Four jobs on a real language model",
        "",
        f"{how} Model: {model}, vLLM's CPU build, bfloat16, greedy.",
        "",
        "| job | prompts | items | rows | quarantined | tokens in | tokens out | documents cut | s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for job in jobs:
        counts = job.artifact.counts
        names = ("prompts", "rows_in", "rows_out", "quarantined", "tokens_in", "tokens_out", "texts_cut")
        cells = " | ".join(f"{counts[name]:,}" for name in names)
        lines.append(f"| {job.name} | {cells} | {job.seconds:.0f} |")
    lines += ["", "Seconds count the whole job, with its earlier stages and the start of the engine.", ""]
    lines += ["| job | quarantined because of | rows |", "|---|---|---|"]
    for job in jobs:
        lines += [
            f"| {job.name} | {reason} | {rows} |" for reason, rows in job.artifact.manifest["quarantined"].items()
        ]
    lines.append("")
    for job in (each for each in jobs if each.labels):
        scores = Counter(round(row["score"], 1) for row in job.artifact.table("labels").to_pylist())
        spread = ", ".join(f"{score:g}: {number}" for score, number in sorted(scores.items()))
        told = [signal_sentence(job.artifact, job.name), orders_sentence(job.artifact, job.name)]
        verdict = "stops the run" if job.stopped else "does not stop the run"
        lines += [f"**{job.name}** {verdict}. {' '.join(filter(None, told))} Scores, rounded: {spread}.", ""]
    lines += [
        "The same prompts, greedy, from vLLM's own OpenAI server through the engine `openai`:",
        "",
        "| job | answers | same number of prompt tokens | same words | others differ from character (median) | |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.job} | {each.answers} | {each.prompts} | {each.same} | {each.begins} | {each.far} |"
        for each in compared
    ]
    lines += [
        "",
        "Answers differ where two tokens are about equally likely: in bfloat16, sums depend on the batch's shape.",
    ]
    return "\n".join(lines) + "\n"


def samples_page(model: str, jobs: list[Job], compared: list[Compared]) -> str:
    """What the model wrote, for people to read."""
    lines = [f"# What {model} wrote", "", "Texts of the model: do not publish them without reading its license.", ""]
    for job in jobs:
        lines += [f"## {job.name}", ""]
        rows = sorted(job.artifact.table("answers").to_pylist(), key=lambda row: str(row["prompt_id"]))
        step = max(1, len(rows) // SAMPLES)
        lines += [f"- `{row['prompt_id']}` ({row['finish']}): {_short(row)}" for row in rows[::step][:SAMPLES]]
        quarantine = job.artifact.table("quarantine").to_pylist()[:SAMPLES]
        lines += ["", "Quarantined:", ""] if quarantine else [""]
        lines += [f"- {row['reason']}: {_line(row['raw'])}" for row in quarantine] + [""]
    for each in compared:
        lines += [f"## {each.job}: in process and from the server, where they differ", ""]
        lines += [f"- {_line(one)}\n  - {_line(other)}" for one, other in each.different[:SAMPLES]] + [""]
    return "\n".join(lines)


def _common(one: str, other: str) -> int:
    """Number of characters that both begin with."""
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), 0)


def _short(row: dict[str, object]) -> str:
    shares = row["logprobs"]
    assert isinstance(shares, list)
    return " ".join(f"{share:.2f}" for share in shares) if shares else _line(str(row["text"]))


def _line(text: str) -> str:
    line = " ".join(text.split())[:_CHARS]
    return f"`{line.replace('`', chr(39))}`"
