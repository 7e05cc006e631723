"""``gradret plan``: prompts, tokens and GPU-hours of the stages that ask a language model."""

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

if TYPE_CHECKING:
    from gradret.config.run import Config
    from gradret.engines import Row
    from gradret.planning.probe import Probe

__all__ = ["Given", "plan"]

# vLLM's own where max_num_seqs is not set and ray.data.llm starts the engine (0.29).
_SEQUENCES = 128


@dataclass(frozen=True)
class Given:
    """What the user knows better than the table."""

    gpu: str = "H100"
    """A name in ``throughput.yaml``."""
    parameters: float | None = None
    """Of the model; of a mixture of experts, those that a token uses."""
    tokens_in_per_second: float | None = None
    """Of one engine."""
    tokens_out_per_second: float | None = None

    def __post_init__(self) -> None:
        throughput.gpu(self.gpu)
        for name in ("parameters", "tokens_in_per_second", "tokens_out_per_second"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"--{name.replace('_', '-')}: must be above 0, got {value:g}")


def plan(config: Config, given: Given | None = None, *, with_probe: bool = False) -> dict[str, Any]:
    """An estimate of what the config's language model stages will cost. Generates nothing.

    Ingests and deduplicates the dataset, makes the real prompts of a sample and counts their tokens with the
    engine's tokenizer. Hours come from the table's roofline, or with ``with_probe`` from asking the
    real engine about 64 prompts of each stage; those answers are thrown away.

    Args:
        config: of the run.
        given: what is known better than assumed.
        with_probe: ask the engine.

    Returns:
        ``name``; ``stages``, a mapping each; ``assumptions``, sentences. Totals are over the stage; hours
        are those of ``engines`` engines side by side, null where nothing tells the speed.

    Raises:
        ConfigError: an option is wrong, or an engine cannot work.
        DataError: the dataset cannot be used.
    """
    if not asks(config):
        return {"name": config.name, "stages": [], "assumptions": []}
    planning = _Planning(config, given or Given())
    storage = Path(config.storage_path).absolute()
    storage.mkdir(parents=True, exist_ok=True)
    # In the storage, which every node of a cluster sees.
    with tempfile.TemporaryDirectory(prefix="plan-", dir=storage) as folder:
        found = jobs(config, Flow(config), Path(folder))
        stages = [planning.stage(job, Path(folder) if with_probe else None) for job in found]
    return {"name": config.name, "stages": stages, "assumptions": list(dict.fromkeys(planning.assumptions))}


@dataclass(frozen=True)
class _Tokens:
    """Of the sampled prompts. Those too long for the model are not sent, and count as none."""

    mean_in: float
    most_out: float
    too_long: int
    cut: int


class _Planning:
    def __init__(self, config: Config, given: Given) -> None:
        self.config, self.given = config, given
        self.assumptions: list[str] = []

    def stage(self, job: Job, folder: Path | None) -> dict[str, Any]:
        """The numbers of one stage; with a folder, from a probe that works there."""
        tokens = _count(job)
        for note in job.notes:
            self._assume(job, note)
        if tokens.too_long:
            self._assume(job, f"{tokens.too_long} of {len(job.prompts)} prompts of the sample do not fit the model")
        probed = self._probed(job, folder / f"probe-{job.stage}") if folder else None
        out = probed.tokens_out if probed else tokens.most_out
        seconds = self._seconds(job, tokens, probed)
        engine: Any = job.engine
        gpus, engines = _gpus(engine), _engines(engine)
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

    def _assume(self, job: Job, what: str) -> None:
        self.assumptions.append(f"{job.stage}: {what}")

    def _probed(self, job: Job, folder: Path) -> Probe:
        from gradret.planning.probe import probe

        measured = probe(job, folder, self.config.seed)
        self._assume(
            job,
            f"hours go by {measured.timed} prompts that one engine answered here in {measured.seconds:.1f} s, "
            "its start left out; a GPU that takes more at once is faster in the full run",
        )
        return measured

    def _seconds(self, job: Job, tokens: _Tokens, probed: Probe | None) -> float | None:
        """One engine's time for the whole stage."""
        if probed:
            return probed.seconds / probed.timed * job.total
        speed = self._speed(job)
        return speed.seconds(tokens.mean_in * job.total, tokens.most_out * job.total) if speed else None

    def _speed(self, job: Job) -> Speed | None:
        given = self.given
        if given.tokens_in_per_second and given.tokens_out_per_second:
            return Speed(given.tokens_in_per_second, given.tokens_out_per_second)
        found = self._roofline(job)
        if found is None:
            return None
        return Speed(given.tokens_in_per_second or found.tokens_in, given.tokens_out_per_second or found.tokens_out)

    def _roofline(self, job: Job) -> Speed | None:
        engine: Any = job.engine
        tell = "--probe, or --tokens-in-per-second and --tokens-out-per-second, give hours"
        gpus = _gpus(engine)
        if not gpus:
            self._assume(job, f"the engine runs on no GPU of its own, so no table tells its speed; {tell}")
            return None
        model = self._weights(engine)
        if model is None:
            self._assume(job, f"the size of {engine.model} cannot be read here; --parameters, or {tell}")
            return None
        card, sequences, share = throughput.gpu(self.given.gpu), _sequences(engine), throughput.share_of_peak()
        speed = throughput.roofline(card, gpus, model, sequences)
        self._assume(
            job,
            f"{gpus} x {self.given.gpu} an engine at {share:.0%} of {card.bf16_tflops:,.0f} TFLOPS and "
            f"{card.bandwidth_gbs:,.0f} GB/s, {model.parameters / 1e9:.3g}B parameters in {model.size / 1e9:.3g} GB, "
            f"{sequences} answers at once: {speed.tokens_in:,.0f} tokens/s in, {speed.tokens_out:,.0f} out",
        )
        if model.size > gpus * card.memory_gb * 1e9:
            room = gpus * card.memory_gb
            self._assume(job, f"the weights do not fit in {room:,.0f} GB; more GPUs an engine, or another --gpu")
        return speed

    def _weights(self, engine: Any) -> Weights | None:
        found = throughput.weights(engine.model)
        if self.given.parameters is None:
            return found
        return replace(found, parameters=self.given.parameters) if found else _bfloat16(self.given.parameters)


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
        f"{job.stage}: rows of the engine {name_of(job.engine)} tell no length; "
        "its load() must give prompt_tokens or tokenized_prompt"
    )


def _engines(engine: Any) -> int:
    """Engines side by side; an endpoint is one."""
    resources: Any = getattr(engine, "resources", None)
    return int(getattr(resources, "engines", 1))


def _gpus(engine: Any) -> int:
    """GPUs of one engine; 0 where it is an endpoint or runs on CPU cores."""
    kwargs = _engine_kwargs(engine)
    if kwargs is None or engine.resources.cpus:
        return 0
    return int(kwargs.get("tensor_parallel_size", 1)) * int(kwargs.get("pipeline_parallel_size", 1))


def _sequences(engine: Any) -> int:
    """Answers in the making at once: what the engine takes and what it is handed."""
    in_hand = engine.resources.batch_size * engine.resources.concurrent_batches
    return int(min((_engine_kwargs(engine) or {}).get("max_num_seqs", _SEQUENCES), in_hand))


def _engine_kwargs(engine: Any) -> dict[str, Any] | None:
    """Arguments of vLLM; None where the engine is none of ours to start."""
    if not hasattr(engine, "engine_kwargs"):
        return None
    return {**engine.engine_kwargs, **engine.resources.engine_kwargs}
