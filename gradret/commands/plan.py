"""``gradret plan``: estimate rows, time, memory, disk and price of every stage, and the prompts to language models."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.engines import TooLong
from gradret.errors import ConfigError, DataError
from gradret.flow import Flow
from gradret.planning import rates, throughput
from gradret.planning.jobs import Job, planned
from gradret.planning.sizes import Sizes
from gradret.planning.stages import Prices, stages, totals
from gradret.planning.throughput import Speed, Weights
from gradret.planning.used import used_hours
from gradret.stages.held_out import wanted
from gradret.store.mirror import remove
from gradret.store.storage import storage_folder

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.engines import Engine, Row
    from gradret.planning.probe import Probe
    from gradret.planning.stages import Stage

__all__ = ["PlanOptions", "plan"]


@dataclass(frozen=True)
class PlanOptions:
    """The user's own figures, used instead of the table's."""

    gpu: str = "H100"
    """GPU type, a name in ``throughput.yaml``."""
    parameters: float | None = None
    """Number of parameters of the model; of a mixture of experts, the active ones."""
    tokens_in_per_second: float | None = None
    """Prompt tokens per second of one engine."""
    tokens_out_per_second: float | None = None
    """Generated tokens per second of one engine."""

    def __post_init__(self) -> None:
        throughput.gpu(self.gpu)
        for name in ("parameters", "tokens_in_per_second", "tokens_out_per_second"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"--{name.replace('_', '-')}: must be above 0, got {value:g}")


def plan(
    config: Config, options: PlanOptions | None = None, *, with_probe: bool = False, prices: Prices | None = None
) -> dict[str, Any]:
    """Estimate the cost of every stage without running it.

    Ingests and deduplicates the dataset, builds the real prompts of a sample and counts their tokens with the
    engine's tokenizer. Hours of an engine come from a roofline model of the GPU or, with ``with_probe``, from sending
    about 64 prompts of each stage to the real engine; its answers are discarded. All other estimates scale what a
    benchmark measured.

    Args:
        config: the run's config.
        options: figures to use instead of the table's.
        with_probe: measure the speed of the real engine.
        prices: prices of hours and tokens.

    Returns:
        ``name``; ``stages``, one mapping per stage, with ``used_hours`` if the run has finished; ``totals``;
        ``prompts``, one mapping per stage that prompts a language model; ``assumptions``, a list of sentences.
        Totals of prompts are over the whole stage; their hours are wall-clock time with ``engines`` engines in
        parallel. None is unknown.

    Raises:
        ConfigError: an option is invalid, or an engine cannot start.
        DataError: the dataset cannot be used.
    """
    options = options or PlanOptions()
    planning = _Planning(config, options)
    storage, flow = storage_folder(config.storage_path), Flow(config)
    # In the storage, which all nodes of a cluster share.
    with tempfile.TemporaryDirectory(prefix="plan-", dir=storage) as folder:
        try:
            found = planned(config, flow, Path(folder))
            prompts = [planning.stage(job, Path(folder) if with_probe else None) for job in found.jobs]
        finally:
            remove(Path(folder))
    documents, test_queries = flow.cut.counts["rows_out"], _test_queries(flow, found.queries)
    sizes = Sizes(documents, found.queries, test_queries, found.pairs, found.words)
    estimates = stages(config, sizes, prompts, options.gpu, prices or Prices())
    total = totals(estimates, _cores()) | {"free_gb": shutil.disk_usage(storage).free / 1e9}
    used = used_hours(storage, config.name)
    assumptions = [*planning.assumptions, *_sources(estimates), *_temporary(config, sizes), *_shortages(storage, total)]
    return {
        "name": config.name,
        "stages": [asdict(each) | {"used_hours": used.get(each.stage)} for each in estimates],
        "totals": total,
        "prompts": prompts,
        "assumptions": list(dict.fromkeys(assumptions)),
    }


def _test_queries(flow: Flow, generated: int) -> int:
    """Number of test queries, held out of the generated ones if there are no others; 0 without judgments."""
    if not flow.has_queries:
        return round(wanted(generated))
    try:
        return flow.queries.counts["test_queries"]
    except DataError:
        return 0


def _cores() -> float:
    """CPU cores of the cluster as it is, or of this machine."""
    from gradret.work.session import cores

    if os.environ.get("RAY_ADDRESS"):
        import ray

        if ray.is_initialized():
            return float(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
    return cores()


def _sources(estimates: Sequence[Stage]) -> Iterator[str]:
    yield f"time and disk are estimates: rates of {rates.source()}, scaled by documents and queries"
    yield "memory is the most of all processes there; stages hold bounded parts of a larger corpus (docs/scale.md)"
    yield f"a transformer takes 2 operations per parameter and token, at the speed of {rates.FLOPS_SOURCE} on a core"
    if unknown := [each.stage for each in estimates if None in (each.cpu_hours, each.gpu_hours)]:
        yield f"no rate was measured for the components of {', '.join(unknown)}: their time is not in the totals"


def _temporary(config: Config, sizes: Sizes) -> Iterator[str]:
    if config.search.smaller:
        vectors = rates.cost("index", sizes.documents, sizes.queries).bytes / 2e6  # of base and tuned
        yield f"smaller: each worker also takes up to {vectors:,.1f} MB of its temporary folder for a while"
        yield f"smaller: rates of {rates.source('smaller_source')}"


def _shortages(storage: Path, total: Mapping[str, Any]) -> Iterator[str]:
    if total["disk_gb"] > total["free_gb"]:
        yield f"{storage} has too little space: {total['free_gb']:,.0f} GB free; set storage_path to a larger disk"


@dataclass(frozen=True)
class _Tokens:
    """Token counts of the sampled prompts. A prompt that is too long for the model is not sent and counts as 0."""

    mean_in: float
    max_out: float
    """Mean of the prompts' limits on generated tokens."""
    too_long: int
    cut: int
    """Prompts whose text was truncated."""


class _Planning:
    def __init__(self, config: Config, options: PlanOptions) -> None:
        self.config, self.options = config, options
        self.assumptions: list[str] = []

    def stage(self, job: Job, folder: Path | None) -> dict[str, Any]:
        """Estimate one stage; with a folder, by a probe that works in it."""
        tokens = _count(job)
        for note in job.notes:
            self._assume(job, note)
        if tokens.too_long:
            self._assume(job, f"{tokens.too_long} of {len(job.prompts)} sampled prompts are too long for the model")
        probed = self._probe(job, folder / f"probe-{job.stage}") if folder else None
        out = probed.tokens_out if probed else tokens.max_out
        seconds = self._seconds(job, tokens, probed)
        engine = job.engine
        gpus, engines = engine.gpus, engine.engines
        return {
            "stage": job.stage,
            "asks": name_of(job.component),
            "engine": name_of(engine),
            "model": engine.model,
            "rows": job.rows,
            "unit": "documents" if job.key == "doc_id" else "queries",
            "prompts": job.total,
            "prompts_at_most": job.at_most,
            "sample": {
                "rows": job.sampled,
                "prompts": len(job.prompts),
                "too_long": tokens.too_long,
                "texts_cut": tokens.cut,
            },
            "tokens_in": {"mean": tokens.mean_in, "total": round(tokens.mean_in * job.total)},
            "tokens_out": {"mean": out, "total": round(out * job.total), "at_most": probed is None},
            "engines": engines,
            "gpus_per_engine": gpus,
            "hours": None if seconds is None else seconds / 3600 / engines,
            "gpu_hours": None if seconds is None or not gpus else seconds / 3600 * gpus,
            "probe": probed and asdict(probed),
        }

    def _assume(self, job: Job, assumption: str) -> None:
        self.assumptions.append(f"{job.stage}: {assumption}")

    def _probe(self, job: Job, folder: Path) -> Probe:
        from gradret.planning.probe import probe

        measured = probe(job, folder, self.config.seed)
        self._assume(
            job,
            f"hours are extrapolated from {measured.timed} prompts that one engine answered here in "
            f"{measured.seconds:.1f} s, without its start; a GPU that takes larger batches is faster in the full run",
        )
        return measured

    def _seconds(self, job: Job, tokens: _Tokens, probed: Probe | None) -> float | None:
        """Seconds that one engine needs for the whole stage; None if its speed is unknown."""
        if probed:
            return probed.seconds / probed.timed * job.total
        speed = self._speed(job)
        return speed.seconds(tokens.mean_in * job.total, tokens.max_out * job.total) if speed else None

    def _speed(self, job: Job) -> Speed | None:
        tokens_in, tokens_out = self.options.tokens_in_per_second, self.options.tokens_out_per_second
        if tokens_in and tokens_out:
            return Speed(tokens_in, tokens_out)
        roofline = self._roofline(job)
        if roofline is None:
            return None
        return Speed(tokens_in or roofline.tokens_in, tokens_out or roofline.tokens_out)

    def _roofline(self, job: Job) -> Speed | None:
        engine = job.engine
        measure = "--probe, or --tokens-in-per-second and --tokens-out-per-second"
        gpus = engine.gpus
        if not gpus:
            self._assume(job, f"the engine does not run on a GPU here, so its speed is unknown; use {measure}")
            return None
        model = self._weights(engine)
        if model is None:
            self._assume(job, f"the size of {engine.model} is unknown here; use --parameters, {measure}")
            return None
        card, sequences, share = throughput.gpu(self.options.gpu), engine.sequences, throughput.share_of_peak()
        speed = throughput.roofline(card, gpus, model, sequences)
        self._assume(
            job,
            f"{gpus} x {self.options.gpu} per engine at {share:.0%} of {card.bf16_tflops:,.0f} TFLOPS and "
            f"{card.bandwidth_gbs:,.0f} GB/s, {model.parameters / 1e9:.3g}B parameters in {model.size / 1e9:.3g} GB, "
            f"{sequences} sequences in parallel: {speed.tokens_in:,.0f} tokens/s in, {speed.tokens_out:,.0f} out",
        )
        memory = gpus * card.memory_gb
        if model.size > memory * 1e9:
            self._assume(job, f"the weights do not fit in {memory:,.0f} GB; use more GPUs per engine, or another --gpu")
        return speed

    def _weights(self, engine: Engine) -> Weights | None:
        weights = throughput.weights(engine.model)
        if self.options.parameters is None:
            return weights
        return replace(weights, parameters=self.options.parameters) if weights else _bfloat16(self.options.parameters)


def _bfloat16(parameters: float) -> Weights:
    return Weights(parameters, 2 * parameters)


def _count(job: Job) -> _Tokens:
    write = job.engine.load()
    tokens_in = out = too_long = cut = 0
    for prompt in job.prompts:
        try:
            row = write(prompt, 0)
        except TooLong:
            too_long += 1
            continue
        tokens_in += _length(row, job)
        out += 1 if prompt.sampling.choices else prompt.sampling.max_tokens
        cut += row["cut"]
    number = len(job.prompts)
    return _Tokens(tokens_in / number, out / number, too_long, cut)


def _length(row: Row, job: Job) -> int:
    if "tokenized_prompt" in row:
        return len(row["tokenized_prompt"])
    if "prompt_tokens" in row:
        return int(row["prompt_tokens"])
    raise ConfigError(
        f"{job.stage}: rows of the engine {name_of(job.engine)} have no length; "
        "its load() must return rows with prompt_tokens or tokenized_prompt"
    )
