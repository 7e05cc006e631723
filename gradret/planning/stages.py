"""Estimate every stage: CPU-hours, GPU-hours, memory, disk, and what it costs.

Three sources, in this order: the prompts of stages that ask a language model (``gradret.planning.jobs``); the size of
a transformer that a stage runs itself (``gradret.planning.models``); rates that a benchmark measured with the
quickstart's components (``gradret.planning.rates``). A stage of other components has no estimate of its time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.config.fields import at_least, require
from gradret.config.sizes import WHOLE
from gradret.engines.openai import OpenAI
from gradret.planning import rates
from gradret.planning.models import ModelWork, model_work
from gradret.planning.sizes import UNITS, Sizes
from gradret.planning.throughput import gpu, share_of_peak

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["Prices", "Stage", "stages", "totals"]

_MEASURED = {
    "generate": ("extractive", "human"),
    "mine": ("source", "positives", "teacher", "random"),
    "label": ("fusion",),
    "check": ("fusion",),
    "train": ("static",),
}
"""Components with which the rates were measured, where the time depends on them."""


@dataclass(frozen=True)
class Prices:
    """Prices in any currency; what is not given costs nothing."""

    gpu_hour: float = 0.0
    cpu_hour: float = 0.0
    """Per core."""
    million_tokens_in: float = 0.0
    """Of an endpoint."""
    million_tokens_out: float = 0.0

    def __post_init__(self) -> None:
        require(**{name: at_least(0, value) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Stage:
    """The estimate of a stage."""

    stage: str
    rows: int | None
    unit: str
    cpu_hours: float | None
    """None if unknown."""
    gpu_hours: float | None
    memory_gib: float
    """Of all processes together, without a model's own."""
    disk_gb: float
    price: float


def stages(config: Config, sizes: Sizes, jobs: Sequence[Mapping[str, Any]], card: str, prices: Prices) -> list[Stage]:
    """Estimate every stage.

    Args:
        config: the run's config.
        sizes: the numbers of rows.
        jobs: the stages that prompt a language model, as ``gradret plan`` returns them.
        card: name of the GPU in ``throughput.yaml``.
        prices: prices.
    """
    planner = _Planner(config, sizes, jobs, model_work(config, sizes), card, prices)
    optional = {"check": config.check.queries, "smaller": config.search.smaller}
    return [planner.stage(kind) for kind in UNITS if optional.get(kind, True)]


def totals(estimates: Sequence[Stage], cores: float) -> dict[str, Any]:
    """Sums over all stages; ``unknown`` names those without an estimate of their time."""
    cpu_hours = sum(each.cpu_hours or 0.0 for each in estimates)
    return {
        "cpu_hours": cpu_hours,
        "cores": cores,
        "hours_if_all_cores_are_busy": cpu_hours / max(cores, 1.0),
        "gpu_hours": sum(each.gpu_hours or 0.0 for each in estimates),
        "memory_gib": max((each.memory_gib for each in estimates), default=0.0),
        "disk_gb": sum(each.disk_gb for each in estimates),
        "price": sum(each.price for each in estimates),
        "unknown": [each.stage for each in estimates if each.cpu_hours is None or each.gpu_hours is None],
    }


@dataclass(frozen=True)
class _Planner:
    config: Config
    sizes: Sizes
    jobs: Sequence[Mapping[str, Any]]
    work: Sequence[ModelWork]
    card: str
    prices: Prices

    def stage(self, kind: str) -> Stage:
        """Estimate one stage."""
        queries = self.sizes.test_queries if UNITS[kind] == "test queries" else self.sizes.queries
        cost = rates.cost(kind, self.sizes.documents, queries)
        jobs = [job for job in self.jobs if job["stage"].partition(".")[0] == kind]
        cpu, gpu_hours = self._hours(kind, jobs, cost.cpu_seconds)
        price = (cpu or 0.0) * self.prices.cpu_hour + (gpu_hours or 0.0) * self.prices.gpu_hour
        price += _tokens(self.config, jobs, self.prices)
        return Stage(kind, self.sizes.rows(kind), UNITS[kind], cpu, gpu_hours, cost.gib, cost.bytes / 1e9, price)

    def _hours(
        self, kind: str, jobs: Sequence[Mapping[str, Any]], measured: float
    ) -> tuple[float | None, float | None]:
        """CPU-hours and GPU-hours; None is unknown."""
        if jobs:
            return _job_hours(jobs)
        work = [each for each in self.work if each.stage == kind]
        rated = _scale(self.config, kind) * measured / 3600
        if not work:
            return (rated if _known(self.config, kind) else None), 0.0
        cpu, gpu_hours = _work_hours(work, self.card)
        # encode has the texts of other models too.
        return (cpu + rated if kind == "encode" and cpu is not None else cpu), gpu_hours


def _known(config: Config, kind: str) -> bool:
    """Whether the rates were measured with the config's components."""
    used = {
        "generate": [config.generate.generator],
        "mine": config.mine.retrievers,
        "label": [config.label.teacher],
        "check": [config.label.teacher],
        "train": [config.train.encoder],
    }
    return all(name_of(each) in _MEASURED[kind] for each in used[kind]) if kind in used else True


def _scale(config: Config, kind: str) -> float:
    """What the rates' time is multiplied with; they are those of 4 epochs of 24 documents and of 4 sizes of vectors."""
    if kind == "train":
        return config.train.epochs * config.train.list_length / (4 * 24)
    return len({WHOLE, *config.search.smaller_sizes}) / 4 if kind == "smaller" else 1.0


def _job_hours(jobs: Sequence[Mapping[str, Any]]) -> tuple[float | None, float | None]:
    """CPU-hours and GPU-hours of prompts; one that runs on a GPU or an endpoint takes no CPU to speak of."""
    if any(job["gpus_per_engine"] and job["gpu_hours"] is None for job in jobs):
        return 0.0, None
    local = [job for job in jobs if job["engine"] == "vllm" and not job["gpus_per_engine"]]
    return (None if local else 0.0), sum(job["gpu_hours"] or 0.0 for job in jobs)


def _work_hours(work: Sequence[ModelWork], card: str) -> tuple[float | None, float | None]:
    speed = share_of_peak() * gpu(card).bf16_tflops * 1e12
    cpu = gpu_hours = 0.0
    for each in work:
        if each.operations is None:
            return (0.0, None) if each.gpus else (None, 0.0)
        if each.gpus:
            gpu_hours += each.operations / speed / 3600
        else:
            cpu += each.operations / rates.FLOPS_PER_CORE / 3600
    return cpu, gpu_hours


def _tokens(config: Config, jobs: Sequence[Mapping[str, Any]], prices: Prices) -> float:
    """The price of an endpoint's tokens."""
    if not any(isinstance(_engine(config, job["stage"]), OpenAI) for job in jobs):
        return 0.0
    tokens_in, tokens_out = (sum(job[name]["total"] for job in jobs) / 1e6 for name in ("tokens_in", "tokens_out"))
    return float(tokens_in * prices.million_tokens_in + tokens_out * prices.million_tokens_out)


def _engine(config: Config, stage: str) -> Any:
    component = config.generate.generator if stage.startswith("generate") else config.label.teacher
    return getattr(component, "engine", None)
