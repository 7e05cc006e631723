"""Kills and signals in every stage of a run, which is repeated until it finishes.

    python -m benchmarks.kill_sweep [--seed N]

A whole run with a static student over part of the embedded collection, on a local Ray. Each line of ``PLAN`` strikes
once: the driver gets SIGKILL, SIGTERM or SIGINT, and the same command runs again; or a Ray worker gets SIGKILL, and the
run must continue. The seed draws the signals, the moment within a stage, the step of the training and the worker.
Artifacts, model and metrics must equal those of an undisturbed run byte for byte, a signal must end the run with 130 or
143 within 10 s, and no process may be left after another 10 s; exits 1 otherwise. Writes
``benchmarks/results/kill_sweep_<hardware>_<date>.{md,json}``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.hardware import hardware, result_path
from tests.small_run import ROOT, command, write_dataset

# Stage and victim, in the order in which a run reaches the stages. `start` is the start of Ray, within `ingest`.
PLAN = [
    *[("start", "driver")] * 3,
    *[(stage, "driver") for stage in ("ingest", "bm25", "base", "dedupe", "generate")],
    *[("encode", "worker"), ("encode", "driver")],
    *[(stage, "driver") for stage in ("retrieve", "found", "label", "mine", "select")],
    *[("train", "worker"), ("train", "driver"), ("train", "driver"), ("train", "driver")],
    *[("encode", "worker"), ("encode", "driver"), ("search", "driver")],
]
# The training has 144 steps and resumes in the middle of an epoch.
SETTINGS = ["train.epochs=2", "train.batch_size=4", "train.resources.checkpoint_every=7"]
STEPS = 144
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
START_SECONDS = 5.0
LIMIT, PATIENCE = 10.0, 600.0
MARK = "GRADRET_KILL_SWEEP"
SAID = "gradret: interrupted; run the same command again to resume"
UNLIKE = {"report.html", "log.txt"}
"""Files of a run with the time of what it did."""
AGENTS = {"ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent"}


@dataclasses.dataclass
class Strike:
    """A kill: ``delay`` seconds into ``stage``, or at a step of the training; and what became of it."""

    stage: str
    victim: str
    signal: int
    delay: float = 0.0
    step: int = 0
    at_work: str = "missed"
    status: int | None = None
    seconds: float = 0.0
    left: int = 0
    said: str = ""

    @property
    def right(self) -> bool:
        """Whether the run ended as it must, if its driver was hit."""
        if self.at_work == "missed" or self.victim != "driver":
            return self.at_work != "missed"
        if self.signal == signal.SIGKILL:
            return self.status == -signal.SIGKILL and not self.left
        return self.status == 128 + self.signal and self.said == SAID and self.seconds <= LIMIT and not self.left


def main() -> int:
    """Run undisturbed and disturbed, compare, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=7)
    seed = parser.parse_args().seed
    with tempfile.TemporaryDirectory(prefix="sweep-") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        write_dataset(folder / "data")
        started = time.monotonic()
        with run(folder, "quiet") as process:
            finish(process, folder / "quiet.txt")
        quiet_seconds = round(time.monotonic() - started)
        strikes = planned(seed, folder / "quiet")
        runs = disturbed(folder, strikes, np.random.default_rng(seed))
        whole, others = (contents(folder / storage) for storage in ("quiet", "disturbed"))
    different = sorted(path for path in whole.keys() | others.keys() if whole.get(path) != others.get(path))
    facts = {"seed": seed, "runs": runs, "seconds": round(time.monotonic() - started), "quiet_seconds": quiet_seconds}
    write(strikes, facts | {"files": len(whole), "different": different})
    return int(bool(different) or not all(strike.right for strike in strikes))


def planned(seed: int, quiet: Path) -> list[Strike]:
    """The plan with its seeded signals and moments; three drivers in a row get the three signals in some order."""
    draw = np.random.default_rng(seed)
    signals = [SIGNALS[n] for _ in PLAN for n in draw.permutation(len(SIGNALS))]
    trainings = [n for n, (stage, _) in enumerate(PLAN) if stage == "train"]
    strikes = []
    for number, (stage, victim) in enumerate(PLAN):
        strike = Strike(stage, victim, signals.pop(0) if victim == "driver" else signal.SIGKILL)
        if stage == "train":
            strike.step = 1 + int(STEPS * (trainings.index(number) + draw.random()) / (len(trainings) + 0.5))
        else:
            strike.delay = draw.random() * (START_SECONDS if stage == "start" else seconds_of(quiet, stage))
        strikes.append(strike)
    return strikes


def seconds_of(storage: Path, stage: str) -> float:
    """The time of the stage's slowest artifact."""
    manifests = storage.glob(f"artifacts/{stage}/*/manifest.json")
    return max(float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) for path in manifests)


def disturbed(folder: Path, strikes: list[Strike], draw: np.random.Generator) -> int:
    """Run, strike and run again until the run finishes; returns the number of runs."""
    waiting = list(strikes)
    for number in range(1, 2 * len(strikes)):
        with run(folder, "disturbed") as process:
            while waiting:
                strike = waiting[0]
                if not wait_for(strike, process, folder / "disturbed"):
                    break
                hit(waiting.pop(0), process, folder, draw)
                print(strike, flush=True)
                if strike.victim == "driver":
                    break
            else:
                finish(process, folder / "disturbed.txt")
            if process.poll() == 0:
                return number
    raise SystemExit("the run does not finish")


@contextlib.contextmanager
def run(folder: Path, storage: str) -> Iterator[psutil.Popen]:
    """The process of a run, which writes to ``<storage>.txt``; what is left of it at the end is killed."""
    with (folder / f"{storage}.txt").open("wb") as file:
        # SPT_NOENV: Ray's titles of processes would overwrite their environment, which holds the mark.
        process = psutil.Popen(
            command("run", folder / "data", folder / storage, *SETTINGS),
            stdout=file, stderr=file, cwd=ROOT, env=os.environ | {MARK: str(folder), "SPT_NOENV": "1"},
        )  # fmt: skip
    try:
        yield process
    finally:
        for left in started_here(folder):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()


def finish(process: psutil.Popen, said: Path) -> None:
    if process.wait(PATIENCE):
        raise SystemExit(said.read_text(encoding="utf-8"))


def started_here(folder: Path) -> list[psutil.Process]:
    """Living processes that the runs started, whoever is their parent by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for(strike: Strike, process: psutil.Popen, storage: Path) -> bool:
    """Wait for the moment of a strike, at the latest the end of its stage; false if the run ended before.

    Ray has started when a worker of it has work. A later strike could miss ``ingest``, and every strike after it.
    """
    before, since = finished(storage, strike.stage), None
    while process.poll() is None and finished(storage, strike.stage) == before:
        with contextlib.suppress(psutil.Error):
            if since is None and reached(strike, process, storage):
                since = time.monotonic()
            if strike.stage == "start" and workers(process):
                break
        if since is not None and time.monotonic() - since >= strike.delay:
            break
        time.sleep(0.005)
    return process.poll() is None


def reached(strike: Strike, process: psutil.Popen, storage: Path) -> bool:
    """Whether the stage is at work, with a worker if one is to be killed, and the training at its step."""
    if strike.stage == "start":
        return any("gcs_server" in child.name() for child in process.children())
    if strike.stage not in at_work(process):
        return False
    if strike.stage == "train" and step_of(storage) < strike.step:
        return False
    return strike.victim == "driver" or bool(workers(process))


def at_work(process: psutil.Process) -> list[str]:
    """Stages whose lock the run holds."""
    locks = (Path(file.path) for file in process.open_files() if file.path.endswith(".lock"))
    return [path.parent.name for path in locks]


def workers(process: psutil.Process) -> list[psutil.Process]:
    """Ray's workers that do something."""
    children = process.children(recursive=True)
    return [child for child in children if (name := child.cmdline()[:1]) and is_worker(name[0])]


def is_worker(name: str) -> bool:
    return name.startswith("ray::") and name.split(maxsplit=1)[0] not in AGENTS


def finished(storage: Path, stage: str) -> int:
    return len(list(storage.glob(f"artifacts/{stage}/*/manifest.json")))


def step_of(storage: Path) -> int:
    """The last step in the training curve."""
    for path in storage.glob("artifacts/train/*/metrics.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        return max((int(json.loads(line)["step"]) for line in lines if line.endswith("}")), default=0)
    return 0


def hit(strike: Strike, process: psutil.Popen, folder: Path, draw: np.random.Generator) -> None:
    """Kill a worker, or send the driver its signal and note how it ended."""
    busy = workers(process) if strike.victim == "worker" else [process]
    if not busy:
        return
    victim = busy[draw.integers(len(busy))]
    strike.at_work = ", ".join(at_work(process)) or "between stages"
    strike.step = step_of(folder / "disturbed") if "train" in strike.at_work else 0
    if strike.victim == "worker":
        strike.victim = victim.cmdline()[0].partition("(")[0]
    victim.send_signal(strike.signal)
    if victim == process:
        watch(strike, process, folder)


def watch(strike: Strike, process: psutil.Popen, folder: Path) -> None:
    """Note how and when the driver ended, and what it left behind."""
    started = time.monotonic()
    strike.status = process.wait(PATIENCE)
    strike.seconds = round(time.monotonic() - started, 1)
    strike.said = ((folder / "disturbed.txt").read_text(encoding="utf-8").splitlines() or [""])[-1]
    deadline = time.monotonic() + LIMIT
    while (left := started_here(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    strike.left = len(left)


def contents(storage: Path) -> dict[str, str]:
    """SHA-256 of every file of the artifacts and of the run, without what depends on time."""
    return {
        str(path.relative_to(storage)): hashlib.sha256(timeless(path, storage)).hexdigest()
        for path in sorted(storage.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and path.name not in UNLIKE and "tensorboard" not in path.parts
    }


def timeless(path: Path, storage: Path) -> bytes:
    """The file's bytes; in JSON without times, and in the config without the storage's path."""
    if path.name in {"manifest.json", "lineage.json", "metrics.json"}:
        return json.dumps(json.loads(path.read_bytes(), object_hook=without_times)).encode()
    return path.read_bytes().replace(str(storage).encode(), b"") if path.suffix == ".yaml" else path.read_bytes()


def without_times(value: dict[str, Any]) -> dict[str, Any]:
    """Without times, and without the checksums of what holds times: TensorBoard's files, and the manifest itself."""
    timed = ("seconds", "milliseconds", "tensorboard/", "checksum")
    return {key: item for key, item in value.items() if not key.startswith(timed)}


def write(strikes: list[Strike], facts: dict[str, Any]) -> None:
    """The results as Markdown and JSON."""
    rows = [dataclasses.asdict(strike) | {"right": strike.right} for strike in strikes]
    result_path("kill_sweep", "json").write_text(json.dumps(facts | {"strikes": rows}, indent=1), encoding="utf-8")
    equal = f"{facts['files'] - len(facts['different'])} of {facts['files']}"
    unequal = "".join(f", not {path}" for path in facts["different"])
    right = f"{sum(strike.right for strike in strikes)} of {len(strikes)}"
    result_path("kill_sweep", "md").write_text(
        f"# Kills and signals in every stage of a run\n\n{hardware()}, load average {os.getloadavg()[2]:.0f}. "
        f"Command: `python -m benchmarks.kill_sweep --seed {facts['seed']}`.\n"
        f"One command, run {facts['runs']} times until it finished: {facts['seconds']} s, of which "
        f"{facts['quiet_seconds']} s for the undisturbed run.\nFiles of artifacts, model, runs and metrics that equal "
        f"those of the undisturbed run byte for byte: **{equal}**{unequal}.\n"
        f"Strikes after which the run ended or continued as it must: **{right}**.\n\n"
        "At work: the stages whose lock the run held when the signal was sent. Left: processes 10 s after the exit.\n\n"
        "| planned for | at work (step) | victim | signal | exit status | seconds until exit | left | right |\n"
        f"|---|---|---|---|---|---|---|---|\n{''.join(map(row, strikes))}",
        encoding="utf-8",
    )


def row(strike: Strike) -> str:
    step = f" ({strike.step})" if strike.step else ""
    ended = (
        [str(strike.status), f"{strike.seconds:.1f}", str(strike.left)] if strike.victim == "driver" else ["", "", ""]
    )
    cells = [strike.stage, strike.at_work + step, strike.victim, signal.Signals(strike.signal).name, *ended]
    return f"| {' | '.join(cells)} | {'yes' if strike.right else 'NO'} |\n"


if __name__ == "__main__":
    raise SystemExit(main())
