"""``gradret tune``: search keys of the config with Ray Tune, and leave the best config.

Stages above the first one that the space touches are made before the first trial. Where the space lies
within training, all trials learn from the same lists: the objective is nDCG@10 of the held-out lists, known after
every epoch, so that poor trials are stopped early. Where trials have lists of their own it is nDCG@10 of the
dataset's judged dev (or training) queries over the corpus. Test queries decide nothing.
"""

from __future__ import annotations

import json
import os
import queue
import statistics
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.commands.compare import max_concurrent_trainings
from gradret.config.loading import override, to_yaml
from gradret.config.run import SEARCHABLE, Config, Evaluate
from gradret.errors import ConfigError, StageError
from gradret.flow import Flow
from gradret.progress import say
from gradret.report.plots import read_curve
from gradret.stages.check_queries import check_queries, draw
from gradret.stages.train import train
from gradret.store.artifacts import write_json, write_text
from gradret.store.fingerprint import fingerprint
from gradret.work.session import connect

if TYPE_CHECKING:
    from ray import tune as ray_tune

    from gradret.config.run import Dimension
    from gradret.store.artifacts import Artifact

__all__ = ["terminal_text", "tune"]

MEASURE = "nDCG@10"
_OBJECTIVE = "objective"
_MEASURING = ("train.seed", "train.dev_docs", "train.choose_by", "select.dev_share")
_GRACE = 1
"""Epochs before a trial may be stopped."""


def tune(config: Config) -> Path:
    """Search ``config.tune.space`` and return the folder ``STORAGE/searches/NAME``.

    It holds ``best.yaml``, a config that ``gradret run`` takes as it is, and ``search.json``. A search that was
    killed goes on: trials that are done are not run again, nor are trainings that are.

    Raises:
        ConfigError: there is nothing to search, a key cannot be set, or there are no queries to judge trials by.
        StageError: no trial finished.
    """
    settings = config.tune
    _refuse(config)
    connect(dashboard=config.tune.stop_early)
    flow = Flow(config)
    first = min(SEARCHABLE.index(_block(one)) for one in settings.space)
    if first:
        flow.make(SEARCHABLE[first - 1])
    if _within_training(config):
        flow.make("base")
    else:
        _judged(flow)
    found = _searched(config)
    best = sorted(found, key=lambda trial: -trial["objective"])[: settings.confirm]
    for number, trial in enumerate(best, 1):
        trial["confirmed"] = [_confirmed(config, trial["overrides"], seed) for seed in settings.seeds]
        say(f"tune: {number} of {len(best)} confirmed: {statistics.mean(trial['confirmed']):.4f}, {trial['overrides']}")
    winner = max(best, key=lambda trial: statistics.mean(trial["confirmed"]))
    folder = Path(config.storage_path) / "searches" / config.name
    write_text(folder / "best.yaml", [to_yaml(override(config, winner["overrides"]))])
    write_json(folder / "search.json", {"objective": _what(config), "best": winner, "trials": found})
    return folder


def terminal_text(found: Mapping[str, Any]) -> str:
    """What ``gradret tune`` ends with.

    Args:
        found: what ``search.json`` holds.
    """
    confirmed = ", ".join(f"{value:.4f}" for value in found["best"]["confirmed"])
    return "\n".join(
        [f"{found['objective']}, with each seed: {confirmed}", *(f"  {one}" for one in found["best"]["overrides"])]
    )


def _refuse(config: Config) -> None:
    """Errors of the space, before anything runs."""
    if not config.tune.space:
        raise ConfigError(
            "tune.space: is empty; such as tune.space=[{key: train.learning_rate, low: 1e-4, high: 1e-2, log: true}]"
        )
    problems = [
        f"tune.space, {one.key}: decides how trials are measured, and they are to be measured alike"
        for one in config.tune.space
        if one.key in _MEASURING
    ]
    for one in config.tune.space:
        for value in one.values or [one.low]:
            try:
                override(config, [_override(one.key, int(value) if one.whole and not one.values else value)])
            except ConfigError as error:
                problems += [f"tune.space, {one.key}: {problem}" for problem in error.problems or [str(error)]]
                break
    if problems:
        raise ConfigError.of(problems)


def _block(dimension: Dimension) -> str:
    return dimension.key.partition(".")[0].partition("[")[0]


def _within_training(config: Config) -> bool:
    """Whether all trials train on the same lists from the same model."""
    return all(one.key.startswith("train.") and not one.key.startswith("train.encoder") for one in config.tune.space)


def _override(key: str, value: object) -> str:
    return f"{key}={json.dumps(value)}"


def _what(config: Config) -> str:
    return f"{MEASURE} of held-out lists" if _within_training(config) else f"{MEASURE} of judged dev queries"


def _judged(flow: Flow) -> Artifact:
    """The dataset's dev queries, else its training queries; not those that trials train on."""
    sample = draw(replace(flow.config, check=replace(flow.config.check, queries=10**9)), flow.generate)
    trained = set(flow.generate.table("queries", ["query_id"])["query_id"].to_pylist())
    queries, qrels = (
        [row for row in rows if row["query_id"] not in trained] for rows in (sample.queries, sample.qrels)
    )
    if not queries:  # nor generated ones, which the sample has where there are no others
        raise ConfigError(
            "tune.space reaches beyond train, so trials have lists of their own and need judged queries to be "
            "compared by: the dataset has none in dev or train that are not trained on; search keys of train alone, "
            "or add such queries"
        )
    return check_queries(flow.config, replace(sample, queries=queries, qrels=qrels))


def _searched(config: Config) -> list[dict[str, Any]]:
    """Trials that came to an end or were stopped: what each set, and the best objective it reached."""
    from ray import tune as ray_tune

    # Ray's own default keeps what it knows every ten seconds, and trials may be shorter.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1")
    settings = config.tune
    # Another space or config is another search.
    name = fingerprint("tune", __name__, {"config": config}, {})
    storage = Path(config.storage_path).absolute() / "searches" / config.name / "ray"
    # Next to no CPU, and Ray takes no request for none at all: the CPUs are for the trial's training.
    trainable = ray_tune.with_resources(ray_tune.with_parameters(_trial, config=config), {"CPU": 0.001})
    if ray_tune.Tuner.can_restore(str(storage / name)):
        say("tune: goes on with the search that is there")
        tuner = ray_tune.Tuner.restore(str(storage / name), trainable, resume_unfinished=True, restart_errored=True)
    else:
        tuner = ray_tune.Tuner(
            trainable,
            param_space={one.key: _domain(one) for one in settings.space},
            tune_config=_tune_config(config),
            run_config=ray_tune.RunConfig(
                name=name, storage_path=str(storage), verbose=0, callbacks=[_progress_callback(config)]
            ),
        )
    grid = tuner.fit()
    results = [grid[number] for number in range(len(grid))]
    found = [_outcome(result) for result in results if _OBJECTIVE in (result.metrics or {})]
    if not found:
        first = next((result.error for result in results if result.error), "none was begun")
        raise StageError(f"tune: no trial finished: {first}")
    failed = len(results) - len(found)
    if failed:
        say(f"tune: {failed} of {len(results)} trials failed")
    return found


def _outcome(result: Any) -> dict[str, Any]:
    """What a trial set, and the best that it reached."""
    return {
        "overrides": [_override(key, value) for key, value in sorted(result.config.items())],
        "objective": float(result.metrics_dataframe[_OBJECTIVE].max()),
        "epochs": len(result.metrics_dataframe),
    }


def _progress_callback(config: Config) -> Any:
    """A callback that says a line a trial."""
    from ray.tune import Callback

    class Told(Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: object) -> None:
            # Those of a search that was killed before are among them.
            done = 1 + sum(other.is_finished() for other in trials if other is not trial)
            objective = trial.last_result.get(_OBJECTIVE)
            value = "failed" if objective is None else f"{objective:.4f}"
            say(f"tune: {done} of {config.tune.trials} trials, {value}: {trial.config}")

    return Told()


def _domain(one: Dimension) -> Any:
    from ray import tune as ray_tune

    if one.values:
        return ray_tune.choice(list(one.values))
    low, high = one.low or 0.0, one.high or 0.0
    if one.whole:
        draw_whole = ray_tune.lograndint if one.log else ray_tune.randint
        return draw_whole(int(low), int(high) + 1)
    return (ray_tune.loguniform if one.log else ray_tune.uniform)(low, high)


def _tune_config(config: Config) -> ray_tune.TuneConfig:
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator
    from ray.tune.search.optuna import OptunaSearch

    settings = config.tune
    random = BasicVariantGenerator(random_state=config.seed)
    early = settings.stop_early and _within_training(config) and config.train.epochs > _GRACE
    return ray_tune.TuneConfig(
        metric=_OBJECTIVE,
        mode="max",
        num_samples=settings.trials,
        time_budget_s=settings.hours * 3600 or None,
        max_concurrent_trials=settings.resources.concurrent or max_concurrent_trainings(config),
        search_alg=random if settings.search == "random" else OptunaSearch(seed=config.seed),
        scheduler=ASHAScheduler(max_t=config.train.epochs + 1, grace_period=_GRACE + 1) if early else None,
    )


def _trial(chosen: dict[str, Any], config: Config) -> None:
    """Runs in an actor without a CPU of its own, so that its training finds one."""
    from ray import tune as ray_tune

    flow = Flow(override(config, [_override(key, value) for key, value in chosen.items()]))
    for value in _epochs(flow) if _within_training(config) else [_measured(flow)]:
        ray_tune.report({_OBJECTIVE: value})


def _epochs(flow: Flow) -> Iterator[float]:
    """The dev measure of the untrained model and after every epoch, as it comes."""
    came: queue.Queue[dict[str, Any] | BaseException | None] = queue.Queue()
    inputs = flow.base, flow.ingest, flow.generate, flow.select

    def run() -> None:
        try:
            made = train(flow.config, *inputs, watch=came.put)
            for line in read_curve(made.path / "metrics.jsonl"):
                if "dev_ndcg" in line:
                    came.put(line)
            came.put(None)
        except BaseException as error:
            came.put(error)

    threading.Thread(target=run, daemon=True).start()
    last = -1
    while (line := came.get()) is not None:
        if isinstance(line, BaseException):
            raise line
        if line["epoch"] > last:  # watched lines may skip an epoch; the file has all
            last = line["epoch"]
            yield float(line["dev_ndcg"])


def _measured(flow: Flow) -> float:
    """nDCG@10 of the trained model on the judged queries, over the corpus."""
    from gradret.stages.evaluate import evaluate
    from gradret.stages.index import index
    from gradret.stages.search import search

    queries = _judged(flow)
    config = replace(flow.config, evaluate=Evaluate((MEASURE,)))
    run = search(config, flow.train, index(config, flow.train, flow.ingest), queries)
    rows = evaluate(config, queries, run).table("metrics").to_pylist()
    return statistics.fmean(row["value"] for row in rows if row["measure"] == MEASURE)


def _confirmed(config: Config, overrides: list[str], seed: int) -> float:
    """The objective of a trial with another seed, on the whole corpus."""
    flow = Flow(override(config, [*overrides, f"train.seed={seed}"]))
    if not _within_training(config):
        return _measured(flow)
    whole = override(flow.config, [f"train.dev_docs={flow.ingest.counts['rows_out']}"])
    return float(Flow(whole).train.manifest["notes"]["best_dev_ndcg"])
