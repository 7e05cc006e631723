"""``gradret plan``: estimate prompts, tokens and GPU-hours of the stages that use a language model."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.components import name_of
from gradret.engines import TooLong
from gradret.errors import ConfigError
from gradret.flow import Flow
from gradret.planning import throughput
from gradret.planning.jobs import Job, asks, jobs
from gradret.planning.throughput import Speed, Weights
from gradret.store.artifacts import storage_folder

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.engines import Engine, Row
    from gradret.planning.probe import Probe

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


def plan(config: Config, options: PlanOptions | None = None, *, with_probe: bool = False) -> dict[str, Any]:
    """Estimate the cost of the config's language model stages without running them.

    Ingests and deduplicates the dataset, builds the real prompts of a sample and counts their tokens with the
    engine's tokenizer. Hours come from a roofline model of the GPU or, with ``with_probe``, from sending about 64
    prompts of each stage to the real engine; its answers are discarded.

    Args:
        config: the run's config.
        options: figures to use instead of the table's.
        with_probe: measure the speed of the real engine.

    Returns:
        ``name``; ``stages``, one mapping per stage; ``assumptions``, a list of sentences. Totals are over the whole
        stage; hours are wall-clock time with ``engines`` engines in parallel, None if the speed is unknown.

    Raises:
        ConfigError: an option is invalid, or an engine cannot start.
        DataError: the dataset cannot be used.
    """
    if not asks(config):
        return {"name": config.name, "stages": [], "assumptions": []}
    planning = _Planning(config, options or PlanOptions())
    storage = storage_folder(config.storage_path)
    # In the storage, which all nodes of a cluster share.
    with tempfile.TemporaryDirectory(prefix="plan-", dir=storage) as folder:
        stage_jobs = jobs(config, Flow(config), Path(folder))
        stages = [planning.stage(job, Path(folder) if with_probe else None) for job in stage_jobs]
    return {"name": config.name, "stages": stages, "assumptions": list(dict.fromkeys(planning.assumptions))}


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
