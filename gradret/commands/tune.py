"""``gradret tune``: search over config keys with Ray Tune, and write the best config.

Stages before the first one that the space affects run before the first trial. If the space only has keys of
training, all trials use the same lists: the objective is nDCG@10 of the held-out lists, known after every epoch, so
that poor trials can be stopped early. Otherwise trials differ in their lists, and the objective is nDCG@10 of the
dataset's judged dev (or training) queries over the corpus. Test queries are never used.
"""

from __future__ import annotations

import os
import queue
import statistics
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.commands.compare import max_concurrent_trainings
from gradret.config.experiments import SEARCHABLE
from gradret.config.loading import override, to_yaml
from gradret.config.run import Config, Evaluate
from gradret.config.written import one_line
from gradret.errors import ConfigError, StageError
from gradret.flow import Flow
from gradret.progress import say
from gradret.report.curve import read_curve
from gradret.report.folder import results_folder
from gradret.report.trials_page import page
from gradret.stages.check_queries import check_queries, draw
from gradret.stages.train import train
from gradret.store.atomic import write_json, write_text
from gradret.store.fingerprint import fingerprint
from gradret.store.objects import filesystem
from gradret.store.storage import storage_folder
from gradret.urls import location
from gradret.work.session import connect

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem
    from ray import tune as ray_tune

    from gradret.config.experiments import Dimension
    from gradret.store.artifacts import Artifact

__all__ = ["terminal_text", "tune"]

MEASURE = "nDCG@10"
_OBJECTIVE = "objective"
_FIXED = ("train.seed", "train.dev_docs", "train.choose_by", "select.dev_share")
"""Keys that decide how trials are measured, so they cannot be searched."""
_GRACE_EPOCHS = 1
"""Epochs before a trial may be stopped."""


def tune(config: Config) -> Path:
    """Search ``config.tune.space`` and return the folder ``STORAGE/searches/NAME``.

    It holds ``best.yaml``, a config for ``gradret run``, ``report.html`` and ``search.json``. A killed search resumes:
    finished trials and finished trainings are not run again.

    Raises:
        ConfigError: the space is empty, a key cannot be set, or there are no queries to judge trials by.
        StageError: no trial finished.
    """
    settings = config.tune
    _check_space(config)
    results_folder(config, "searches")
    connect(dashboard=config.tune.stop_early)
    flow = Flow(config)
    first = min(SEARCHABLE.index(_block(dimension)) for dimension in settings.space)
    if first:
        flow.make(SEARCHABLE[first - 1])
    if _within_training(config):
        flow.make("base")
    else:
        _judged_queries(flow)
    trials = _run_trials(config)
    best = sorted(trials, key=lambda trial: -trial["objective"])[: settings.confirm]
    for number, trial in enumerate(best, 1):
        trial["confirmed"] = [_confirm(config, trial["overrides"], seed) for seed in settings.seeds]
        say(f"tune: {number} of {len(best)} confirmed: {statistics.mean(trial['confirmed']):.4f}, {trial['overrides']}")
    winner = max(best, key=lambda trial: statistics.mean(trial["confirmed"]))
    folder = results_folder(config, "searches")
    write_text(folder / "config.yaml", [to_yaml(config)])
    write_text(folder / "best.yaml", [to_yaml(override(config, winner["overrides"]))])
    search = {"objective": _objective_text(config), "best": winner, "trials": trials}
    write_text(folder / "report.html", [page(config, search)])
    write_json(folder / "search.json", search)
    return folder


def terminal_text(search: Mapping[str, Any]) -> str:
    """The final output of ``gradret tune``.

    Args:
        search: the content of ``search.json``.
    """
    best = search["best"]
    confirmed = ", ".join(f"{value:.4f}" for value in best["confirmed"])
    return "\n".join(
        [f"{search['objective']}, with each seed: {confirmed}", *(f"  {setting}" for setting in best["overrides"])]
    )


def _check_space(config: Config) -> None:
    """Check the search space before anything runs."""
    if not config.tune.space:
        raise ConfigError(
            "tune.space: must not be empty; set it, such as "
            "tune.space=[{key: train.learning_rate, low: 1e-4, high: 1e-2, log: true}]"
        )
    problems = [
        f"tune.space, {dimension.key}: cannot be searched, as it decides how trials are measured"
        for dimension in config.tune.space
        if dimension.key in _FIXED
    ]
    if _within_training(config) and config.train.choose_by == "dev_loss":
        problems.append("train.choose_by: is dev_loss, but trials are measured by dev_ndcg; set dev_ndcg or last")
    for dimension in config.tune.space:
        whole = dimension.whole and not dimension.values
        for value in dimension.values or [dimension.low]:
            try:
                override(config, [_override(dimension.key, int(value) if whole else value)])
            except ConfigError as error:
                problems += [f"tune.space, {dimension.key}: {problem}" for problem in error.problems or [str(error)]]
                break
    if problems:
        raise ConfigError.of(problems)


def _block(dimension: Dimension) -> str:
    return dimension.key.partition(".")[0].partition("[")[0]


def _within_training(config: Config) -> bool:
    """Whether all trials train on the same lists, starting from the same model."""
    keys = [dimension.key for dimension in config.tune.space]
    return all(key.startswith("train.") and not key.startswith("train.encoder") for key in keys)


def _override(key: str, value: object) -> str:
    return f"{key}={one_line(value)}"


def _objective_text(config: Config) -> str:
    return f"{MEASURE} of held-out lists" if _within_training(config) else f"{MEASURE} of judged dev queries"


def _judged_queries(flow: Flow) -> Artifact:
    """The dataset's dev queries, else its training queries, without those that trials train on."""
    sample = draw(replace(flow.config, check=replace(flow.config.check, queries=10**9)), flow.generate)
    trained = set(flow.generate.table("queries", ["query_id"])["query_id"].to_pylist())
    queries, qrels = (
        [row for row in rows if row["query_id"] not in trained] for rows in (sample.queries, sample.qrels)
    )
    if not queries:  # a sample of generated queries, the fallback, is also empty here: trials train on them
        raise ConfigError(
            "tune.space has keys outside train, so trials must be compared on judged queries that none trains on, and "
            "the dataset has none in its splits dev and train; search only keys of train, or add such queries"
        )
    return check_queries(flow.config, replace(sample, queries=queries, qrels=qrels))


def _run_trials(config: Config) -> list[dict[str, Any]]:
    """Run the search; returns the overrides and best objective of every trial that finished or was stopped early."""
    from ray import tune as ray_tune

    # By default Ray saves the state of a search every ten seconds, and trials may be shorter.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1")
    settings = config.tune
    # Another config or space is another search.
    name = fingerprint("tune", __name__, {"config": config}, {})
    storage, files = _storage(config)
    # Leave the CPUs to the trial's training; Ray does not accept a request of zero.
    trainable = ray_tune.with_resources(ray_tune.with_parameters(_trial, config=config), {"CPU": 0.001})
    if ray_tune.Tuner.can_restore(f"{storage}/{name}", storage_filesystem=files):
        say("tune: resuming the interrupted search")
        tuner = ray_tune.Tuner.restore(
            f"{storage}/{name}", trainable, resume_unfinished=True, restart_errored=True, storage_filesystem=files
        )
    else:
        tuner = ray_tune.Tuner(
            trainable,
            param_space={dimension.key: _domain(dimension) for dimension in settings.space},
            tune_config=_tune_config(config),
            run_config=ray_tune.RunConfig(
                name=name,
                storage_path=storage,
                storage_filesystem=files,
                verbose=0,
                callbacks=[_progress_callback(config)],
            ),
        )
    grid = tuner.fit()
    results = [grid[number] for number in range(len(grid))]
    trials = [_outcome(result) for result in results if _OBJECTIVE in (result.metrics or {})]
    if not trials:
        first = next((result.error for result in results if result.error), "no trial started")
        raise StageError(f"tune: no trial finished: {first}")
    failed = len(results) - len(trials)
    if failed:
        say(f"tune: {failed} of {len(results)} trials failed", "warning")
    return trials


def _storage(config: Config) -> tuple[str, FileSystem | None]:
    """Where Ray keeps the state of the search: a folder, or in a bucket."""
    folder = storage_folder(config.storage_path) / "searches" / config.name / "ray"
    place = location(folder)
    return (place.key, filesystem(place.scheme, place.options, place.bucket)) if place else (str(folder), None)


def _outcome(result: Any) -> dict[str, Any]:
    """A trial's overrides, best objective and number of epochs."""
    return {
        "overrides": [_override(key, value) for key, value in sorted(result.config.items())],
        "objective": float(result.metrics_dataframe[_OBJECTIVE].max()),
        "epochs": len(result.metrics_dataframe),
    }


def _progress_callback(config: Config) -> Any:
    """A callback that logs a line for each finished trial."""
    from ray.tune import Callback

    class LogTrials(Callback):
        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: object) -> None:
            # Trials include those finished before a search was killed.
            done = 1 + sum(other.is_finished() for other in trials if other is not trial)
            objective = trial.last_result.get(_OBJECTIVE)
            value = "failed" if objective is None else f"{objective:.4f}"
            say(f"tune: {done} of {config.tune.trials} trials, {value}: {trial.config}")

    return LogTrials()


def _domain(dimension: Dimension) -> Any:
    from ray import tune as ray_tune

    if dimension.values:
        return ray_tune.choice(list(dimension.values))
    low, high = dimension.low or 0.0, dimension.high or 0.0
    if dimension.whole:
        draw_whole = ray_tune.lograndint if dimension.log else ray_tune.randint
        return draw_whole(int(low), int(high) + 1)
    return (ray_tune.loguniform if dimension.log else ray_tune.uniform)(low, high)


def _tune_config(config: Config) -> ray_tune.TuneConfig:
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.basic_variant import BasicVariantGenerator
    from ray.tune.search.optuna import OptunaSearch

    settings = config.tune
    random = BasicVariantGenerator(random_state=config.seed)
    early = settings.stop_early and _within_training(config) and config.train.epochs > _GRACE_EPOCHS
    return ray_tune.TuneConfig(
        metric=_OBJECTIVE,
        mode="max",
        num_samples=settings.trials,
        time_budget_s=settings.hours * 3600 or None,
        max_concurrent_trials=settings.resources.concurrent or max_concurrent_trainings(config),
        search_alg=random if settings.search == "random" else OptunaSearch(seed=config.seed),
        scheduler=ASHAScheduler(max_t=config.train.epochs + 1, grace_period=_GRACE_EPOCHS + 1) if early else None,
    )


def _trial(chosen: dict[str, Any], config: Config) -> None:
    """Run a trial, in an actor that reserves no CPU, so that its training can."""
    from ray import tune as ray_tune

    flow = Flow(override(config, [_override(key, value) for key, value in chosen.items()]))
    for value in _dev_scores(flow) if _within_training(config) else [_corpus_score(flow)]:
        ray_tune.report({_OBJECTIVE: value})


def _dev_scores(flow: Flow) -> Iterator[float]:
    """The dev nDCG@10 before training and after every epoch, as training reports it."""
    events: queue.Queue[dict[str, Any] | BaseException | None] = queue.Queue()
    inputs = flow.base, flow.cut, flow.generate, flow.select

    def run() -> None:
        try:
            model = train(flow.config, *inputs, watch=events.put)
            for line in read_curve(model.file("metrics.jsonl")):
                if "dev_ndcg" in line:
                    events.put(line)
            events.put(None)
        except BaseException as error:
            events.put(error)

    threading.Thread(target=run, daemon=True).start()
    last = -1
    while (line := events.get()) is not None:
        if isinstance(line, BaseException):
            raise line
        if line["epoch"] > last:  # watched lines may skip an epoch; the file has all of them
            last = line["epoch"]
            yield float(line["dev_ndcg"])


def _corpus_score(flow: Flow) -> float:
    """nDCG@10 of the trained model on the judged queries, over the corpus."""
    from gradret.stages.cut import deep
    from gradret.stages.evaluate import evaluate
    from gradret.stages.index import index
    from gradret.stages.max_passage import max_passage
    from gradret.stages.search import search

    queries = _judged_queries(flow)
    config = replace(flow.config, evaluate=Evaluate((MEASURE,)))
    run = search(deep(config, flow.cut), flow.train, index(config, flow.train, flow.cut), queries)
    rows = evaluate(config, queries, max_passage(config, run)).table("metrics").to_pylist()
    return statistics.fmean(row["value"] for row in rows if row["measure"] == MEASURE)


def _confirm(config: Config, overrides: list[str], seed: int) -> float:
    """The objective of a trial with another seed, over the whole corpus."""
    flow = Flow(override(config, [*overrides, f"train.seed={seed}"]))
    if not _within_training(config):
        return _corpus_score(flow)
    whole_corpus = override(flow.config, [f"train.dev_docs={flow.cut.counts['rows_out']}"])
    return float(Flow(whole_corpus).train.manifest["notes"]["best_dev_ndcg"])
