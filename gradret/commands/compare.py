"""``gradret compare``: several recipes on the same data, each with several seeds, and which of them is best.

Every recipe is the config with some keys set. Stages that recipes share have the same fingerprint, so they are
made once: first what comes before training, recipe after recipe, then the trainings, as many side by side as
there is room for.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gradret.config.loading import override, to_yaml
from gradret.errors import ConfigError, StorageError
from gradret.flow import Flow
from gradret.progress import say
from gradret.report.recipes import Trial, as_data, compared
from gradret.report.recipes_page import page
from gradret.store.artifacts import write_json, write_text
from gradret.work.session import connect, cores

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.store.artifacts import Artifact

__all__ = ["compare", "max_concurrent_trainings"]


@dataclass(frozen=True)
class _Run:
    """A recipe with one seed."""

    recipe: str
    seed: int
    flow: Flow


def compare(config: Config) -> Path:
    """Run all recipes of ``config.compare`` and return the folder ``STORAGE/comparisons/NAME``.

    It holds ``report.html``, ``comparison.json`` and ``config.yaml``. All recipes are evaluated on the same
    queries, those of ``dataset.split``, and so is BM25.

    Raises:
        ConfigError: there are fewer than two recipes, or one sets what cannot be set.
        GradretError: a stage of a recipe could not finish; the others' results are kept for the next run.
    """
    runs = _runs(config)
    connect()
    for run in runs:  # before any training: what is shared is made once, and what is wrong is said early
        run.flow.make("queries", "select", "base")
    trials = _trained(config, runs)
    lexical = Flow(config).evaluated("bm25").table("metrics")
    found = compared(trials, lexical, config.evaluate.measures, config.seed)
    folder = Path(config.storage_path) / "comparisons" / config.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", [to_yaml(config)])
        write_text(folder / "report.html", [page(config, found)])
        write_json(folder / "comparison.json", as_data(config, found))
    except OSError as error:
        raise StorageError(f"compare: {folder} cannot be written: {error}") from error
    return folder


def _runs(config: Config) -> list[_Run]:
    """All recipes with all seeds; every config is made before the first stage runs."""
    recipes = config.compare.recipes
    if len(recipes) < 2:
        raise ConfigError(
            f"compare.recipes: expected two or more, got {len(recipes)}; such as "
            "compare.recipes.infonce=['train.loss=[{name: infonce}]']"
        )
    problems: list[str] = []
    made = []
    for name, overrides in recipes.items():
        wrong, configs = _configs(config, overrides)
        problems += [f"compare.recipes.{name}: {problem}" for problem in wrong]
        made += [_Run(name, seed, Flow(own)) for seed, own in configs.items()]
    if problems:
        raise ConfigError.of(problems)
    return made


def _configs(config: Config, overrides: Sequence[str]) -> tuple[Sequence[str], dict[int, Config]]:
    """What is wrong with a recipe, and its configs by seed."""
    try:
        own = {seed: override(config, [*overrides, f"{config.compare.vary}={seed}"]) for seed in config.compare.seeds}
    except ConfigError as error:
        return error.problems or [str(error)], {}
    shared = ("dataset", "storage_path", "evaluate", "compare")
    changed = [key for key in shared if any(getattr(one, key) != getattr(config, key) for one in own.values())]
    if changed:
        return [f"must not set {' or '.join(changed)}: recipes are compared on the same queries"], {}
    return [], own


def _trained(config: Config, runs: list[_Run]) -> list[Trial]:
    """Train, search and evaluate every run; in the order of ``runs``."""
    trials: dict[int, Trial] = {}
    with ThreadPoolExecutor(config.compare.resources.concurrent or max_concurrent_trainings(config)) as pool:
        asked = {pool.submit(_trial, run): number for number, run in enumerate(runs)}
        try:
            for done in as_completed(asked):
                number = asked[done]
                trials[number] = done.result()
                run = runs[number]
                say(f"compare: {len(trials)} of {len(runs)} done: {run.recipe}, {config.compare.vary}={run.seed}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [trials[number] for number in range(len(runs))]


def _trial(run: _Run) -> Trial:
    trained: Artifact = run.flow.train
    tuned, before = (run.flow.evaluated(system) for system in ("tuned", "base"))
    return Trial(
        recipe=run.recipe,
        seed=run.seed,
        metrics=tuned.table("metrics"),
        before=before.table("metrics"),
        lists=trained.counts["rows_out"],
        examples=trained.manifest["notes"]["steps"] * run.flow.config.train.batch_size,
        seconds=trained.manifest["seconds"],
    )


def max_concurrent_trainings(config: Config) -> int:
    """Trainings that have room beside each other, and never so many that a stage waits for their CPUs."""
    import ray

    needs, have = config.train.resources, ray.cluster_resources()  # type: ignore[no-untyped-call]
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    if needs.gpus:
        workers = have.get("GPU", 0) / needs.gpus
    else:  # a worker takes all cores of its node unless it is told not to
        workers = nodes * max(1, cores() // needs.threads) if needs.threads else nodes
    return max(1, min(int(workers), int(have.get("CPU", 1)) - 1) // needs.num_workers)
