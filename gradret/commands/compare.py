"""``gradret compare``: compare several recipes on the same data, each with several seeds.

A recipe is the config with some keys overridden. Stages that recipes share have the same fingerprint, so they run
once: first everything before training, recipe by recipe, then the trainings, as many in parallel as resources allow.
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
from gradret.report.folder import results_folder
from gradret.report.recipes import Trial, as_data, compare_recipes
from gradret.report.recipes_page import page
from gradret.store.atomic import write_json, write_text
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

    It holds ``report.html``, ``comparison.json`` and ``config.yaml``. All recipes, and BM25, are evaluated on the
    queries of ``dataset.split``.

    Raises:
        ConfigError: there are fewer than two recipes, or a recipe sets a key that recipes must share.
        GradretError: a stage of a recipe failed; the next run reuses the results of the others.
    """
    runs = _runs(config)
    results_folder(config, "comparisons")
    connect()
    for run in runs:  # before any training, so that shared stages run once and errors show early
        run.flow.make("queries", "select", "base")
    trials = _train_all(config, runs)
    bm25 = Flow(config).evaluated("bm25").table("metrics")
    comparison = compare_recipes(trials, bm25, config.evaluate.measures, config.seed)
    folder = results_folder(config, "comparisons")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", [to_yaml(config)])
        write_text(folder / "report.html", [page(config, comparison)])
        write_json(folder / "comparison.json", as_data(config, comparison))
    except OSError as error:
        raise StorageError(f"compare: {folder} cannot be written: {error}") from error
    return folder


def _runs(config: Config) -> list[_Run]:
    """All recipes with all seeds; validates every config before the first stage runs."""
    recipes = config.compare.recipes
    if len(recipes) < 2:
        raise ConfigError(
            f"compare.recipes: expected two or more, got {len(recipes)}; add one, such as "
            "compare.recipes.infonce=['train.loss=[{name: infonce}]']"
        )
    problems: list[str] = []
    runs = []
    for name, overrides in recipes.items():
        recipe_problems, configs = _configs(config, overrides)
        problems += [f"compare.recipes.{name}: {problem}" for problem in recipe_problems]
        runs += [_Run(name, seed, Flow(seeded)) for seed, seeded in configs.items()]
    if problems:
        raise ConfigError.of(problems)
    return runs


def _configs(config: Config, overrides: Sequence[str]) -> tuple[Sequence[str], dict[int, Config]]:
    """Return the problems of a recipe, and its configs by seed."""
    seeds = config.compare.seeds
    try:
        configs = {seed: override(config, [*overrides, f"{config.compare.vary}={seed}"]) for seed in seeds}
    except ConfigError as error:
        return error.problems or [str(error)], {}
    shared = ("dataset", "storage_path", "evaluate", "compare")
    changed = [key for key in shared if any(getattr(each, key) != getattr(config, key) for each in configs.values())]
    if changed:
        return [f"must not set {' or '.join(changed)}: recipes are compared on the same queries"], {}
    return [], configs


def _train_all(config: Config, runs: list[_Run]) -> list[Trial]:
    """Train, search and evaluate every run, in parallel; results are in the order of ``runs``."""
    trials: dict[int, Trial] = {}
    with ThreadPoolExecutor(config.compare.resources.concurrent or max_concurrent_trainings(config)) as pool:
        futures = {pool.submit(_trial, run): number for number, run in enumerate(runs)}
        try:
            for future in as_completed(futures):
                number = futures[future]
                trials[number] = future.result()
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
    """Number of trainings that the cluster can run in parallel, leaving a CPU for other stages."""
    import ray

    needed, available = config.train.resources, ray.cluster_resources()  # type: ignore[no-untyped-call]
    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    if needed.gpus:
        workers = available.get("GPU", 0) / needed.gpus
    else:  # without train.resources.threads, a worker uses all cores of its node
        workers = nodes * max(1, cores() // needed.threads) if needed.threads else nodes
    return max(1, min(int(workers), int(available.get("CPU", 1)) - 1) // needed.num_workers)
