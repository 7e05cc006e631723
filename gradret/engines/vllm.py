"""vLLM in process, through ``ray.data.llm``: one engine a GPU, or on CPU cores with vLLM's CPU build."""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.config.fields import at_least, refuse
from gradret.engines import Prompt, Row, Write
from gradret.engines._fit import Message, fit
from gradret.engines._model_files import context_length, eos_ids
from gradret.errors import ConfigError

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["Vllm", "VllmResources"]

_DEFAULTS = {
    "enable_prefix_caching": True,
    # JSON without free white space: some models never stop writing it.
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}
_ON_CPU = {
    "distributed_executor_backend": "uni",
    # vLLM 0.29's CPU build dies of a seeded prompt that is prefilled in two parts.
    "enable_chunked_prefill": False,
}


@dataclass(frozen=True)
class VllmResources:
    """Who answers; decides speed only."""

    engines: int = 1
    """Engines side by side. Each takes ``tensor_parallel_size`` x ``pipeline_parallel_size`` GPUs."""
    cpus: int = 0
    """CPU cores an engine, for vLLM's CPU build; 0 is an engine on GPUs."""
    batch_size: int = 32
    """Prompts that travel together; what is lost when an engine dies is a few times this."""
    concurrent_batches: int = 8
    """Batches that an engine has in hand."""
    restarts: int = 10
    """How often a dead engine is started again before the stage gives up."""
    engine_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """More of vLLM's engine arguments that change speed and memory only: ``tensor_parallel_size``,
    ``gpu_memory_utilization``, ``max_num_seqs``, ``enforce_eager``, ..."""
    environment: dict[str, str] = field(default_factory=dict, hash=False)
    """Environment variables of the engine's process, such as ``VLLM_CPU_KVCACHE_SPACE``."""

    def __post_init__(self) -> None:
        refuse(**{name: at_least(1, getattr(self, name)) for name in ("engines", "batch_size", "concurrent_batches")})
        refuse(**{name: at_least(0, getattr(self, name)) for name in ("cpus", "restarts")})


@dataclass(frozen=True)
class Vllm:
    """A model in vLLM on this cluster.

    Prompts go through the tokenizer's chat template with the generation prompt, and are tokenised and
    cut here, before the engine. Prefix caching is on: prompts about one document share its tokens.

    Source: Kwon et al. 2023 (2309.06180); implementation: vLLM through Ray Data's ``ray.data.llm``.
    """

    model: str
    """A folder or a Hugging Face hub id."""
    engine_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """vLLM's engine arguments by their own names, those that can change an answer: ``max_model_len``,
    ``dtype``, ``quantization``, ``max_lora_rank``, ... Speed has its own under ``resources``."""
    chat_template: str = ""
    """A jinja file in place of the tokenizer's template. Its name counts as part of the result, not its text, and
    so with a model in a folder: call a changed one something else."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """What the template is given beside the messages, such as ``enable_thinking: false``."""
    lora: str = ""
    """A LoRA adapter on top of the model: a folder or a hub id."""
    resources: VllmResources = VllmResources()
    """Who answers."""

    def __post_init__(self) -> None:
        if "model" in self.engine_kwargs:
            raise ValueError("engine_kwargs must not name the model; set model")

    @property
    def context(self) -> int | None:
        """``max_model_len`` where it is set."""
        length = (self.engine_kwargs | self.resources.engine_kwargs).get("max_model_len")
        return None if length is None else int(length)

    @property
    def source(self) -> str:
        """An absolute folder, or a hub id, which every node of the cluster resolves for itself."""
        return str(Path(self.model).absolute()) if Path(self.model).is_dir() else self.model

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            ConfigError: vLLM is not installed, the model is not there or has no chat template, or no
                GPU is in the cluster.
        """
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError("engine vllm: vLLM is not installed; pip install 'gradret[vllm]', or see docs/engines.md")
        self.load()
        self._check_gpus()

    def load(self) -> Write:
        tokens = _ChatTokens(self)
        return functools.partial(_row, tokens, self.lora)

    def answer(self, rows: Dataset) -> Dataset:
        # Where it finds no handler, it takes the console and speaks of things that do not concern a user.
        logging.getLogger("ray.llm").addHandler(logging.NullHandler())
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig

        resources = self.resources
        settings = vLLMEngineProcessorConfig(
            model_source=self.source,
            engine_kwargs=self.arguments,
            concurrency=(resources.engines, resources.engines),
            batch_size=resources.batch_size,
            max_concurrent_batches=resources.concurrent_batches,
            runtime_env={"env_vars": resources.environment} if resources.environment else None,
            placement_group_config={"bundles": [{"CPU": resources.cpus}]} if resources.cpus else None,
            # We template and cut by ourselves; vLLM turns tokens back into text.
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
            should_continue_on_error=True,
            log_engine_metrics=False,
        )
        processor = build_processor(settings, preprocess=_unpacked, postprocess=_read)
        # In place: an assignment would make Ray work out the stage's resources again, and wrongly.
        limits = {"max_restarts": resources.restarts, "max_task_retries": resources.restarts}
        processor.stages["vLLMEngineStage"].map_batches_kwargs.update(limits)
        # Blocks of one batch, for an engine takes a block whole. Strict: Ray would else fuse this with the steps
        # around it and make one block of all again.
        rows = rows.repartition(target_num_rows_per_block=resources.batch_size, strict=True)
        return processor(rows).map(_settled)

    @property
    def arguments(self) -> dict[str, Any]:
        """What vLLM is started with, beside the model."""
        kwargs = _DEFAULTS | self.engine_kwargs | self.resources.engine_kwargs
        if self.lora:
            kwargs["enable_lora"] = True
        return _ON_CPU | kwargs if self.resources.cpus else kwargs

    def _check_gpus(self) -> None:
        """A cluster may still grow; this machine cannot."""
        if self.resources.cpus or os.environ.get("RAY_ADDRESS"):
            return
        import ray

        from gradret.work.session import connect

        connect()
        if not ray.cluster_resources().get("GPU"):  # type: ignore[no-untyped-call]
            raise ConfigError(
                "engine vllm: this machine has no GPU; for vLLM's CPU build set the engine's resources.cpus "
                "to the cores it may take, or name an endpoint with the engine openai"
            )


class _ChatTokens:
    """The model's tokenizer and chat template."""

    def __init__(self, engine: Vllm) -> None:
        from transformers import AutoConfig, AutoTokenizer

        source = engine.source
        code = bool(engine.engine_kwargs.get("trust_remote_code", False))
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=code)
            config = AutoConfig.from_pretrained(source, trust_remote_code=code)
        except (OSError, ValueError) as error:
            raise ConfigError(f"engine vllm: {engine.model} cannot be read: {error}") from error
        self.template = _template(engine)
        if not (self.template or self.tokenizer.chat_template):
            raise ConfigError(
                f"engine vllm: {engine.model} has no chat template (a base model?); "
                "take one that is, or set chat_template to a jinja file"
            )
        self.template_kwargs = dict(engine.chat_template_kwargs)
        self.knows_system = self._knows_system()
        self.context = engine.context or context_length(config)
        self.eos_ids = eos_ids(source, self.tokenizer)
        self.choice_ids: dict[tuple[str, ...], list[int]] = {}

    def text(self, messages: list[Message]) -> str:
        if self.knows_system:
            return self._rendered(messages)
        return self._rendered([{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}])

    def _knows_system(self) -> bool:
        """Some templates refuse a system message; it then goes before the user's."""
        from jinja2 import TemplateError

        try:
            self._rendered([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
        except TemplateError:
            return False
        return True

    def _rendered(self, messages: list[Message]) -> str:
        text = self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            chat_template=self.template or None,
            **self.template_kwargs,
        )
        return str(text)

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def count(self, messages: list[Message]) -> int:
        return len(self.ids(self.text(messages)))

    @functools.lru_cache(maxsize=64)  # noqa: B019 - lives as long as the worker
    def size(self, text: str) -> int:
        return len(self.ids(text))

    def cut(self, text: str, size: int) -> str:
        if not size:
            return ""
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        # A character can be several tokens, all with its whole span.
        return text[: min(offsets[size][0], offsets[size - 1][1])]

    def choices(self, text: str, ids: list[int], choices: tuple[str, ...]) -> list[int]:
        """The token of each choice where it follows ``text``.

        Raises:
            ConfigError: a choice is not one token of this model.
        """
        if choices not in self.choice_ids:
            found = [self.ids(text + choice) for choice in choices]
            for choice, longer in zip(choices, found, strict=True):
                if longer[:-1] != ids:
                    raise ConfigError(
                        f"engine vllm: {choice!r} is not one token of this model's tokenizer, so its probability "
                        "cannot be read; choose another scale or model"
                    )
            self.choice_ids[choices] = [longer[-1] for longer in found]
        return self.choice_ids[choices]


def _row(tokens: _ChatTokens, lora: str, prompt: Prompt, seed: int) -> Row:
    sampling = prompt.sampling
    fitted = fit(prompt, tokens, tokens.context - sampling.max_tokens)
    text = tokens.text(fitted.messages)
    ids = tokens.ids(text)
    params: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "min_tokens": min(sampling.min_tokens, sampling.max_tokens),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": seed,
    }
    if sampling.choices:
        params["logprob_token_ids"] = tokens.choices(text, ids, sampling.choices)
        params["logprobs"] = len(sampling.choices)
    if sampling.json_schema is not None:
        params["structured_outputs"] = {"json": json.dumps(sampling.json_schema)}
    # Not "params": the engine's step writes a column of that name.
    row = {"tokenized_prompt": ids, "asked": json.dumps(params), "eos_ids": tokens.eos_ids, "cut": fitted.cut}
    return row | ({"model": lora} if lora else {})


def _unpacked(row: Row) -> Row:
    """What the engine's step reads. Parameters travel as JSON: a table would make one struct of all rows'."""
    return {"sampling_params": json.loads(row["asked"])}


def _read(row: Row) -> Row:
    params = json.loads(row["asked"])
    tokens = [int(token) for token in row["generated_tokens"]]
    ended = len(tokens) < params["max_tokens"] or tokens[-1] in set(row["eos_ids"])
    return _kept(row) | {
        "text": row["generated_text"],
        "finish": "stop" if ended else "length",
        "tokens_in": int(row["num_input_tokens"]),
        "tokens_out": len(tokens),
        "logprobs": _logprobs(row.get("logprobs"), params.get("logprob_token_ids", ())),
        "error": "",
    }


def _logprobs(answered: Any, wanted: list[int]) -> list[float]:
    if not wanted:
        return []
    first = {int(token): entry["logprob"] for token, entry in answered[0].items() if entry is not None}
    return [float(first.get(token, -math.inf)) for token in wanted]


def _settled(row: Row) -> Row:
    """One shape for answers and failures; a failure skips ``_read``."""
    error = row.get("__inference_error__") or ""
    if not error:
        return {name: value for name, value in row.items() if name in _COLUMNS}
    failed: Row = {"text": "", "finish": "error", "tokens_in": 0, "tokens_out": 0, "logprobs": [], "error": error}
    return _kept(row) | failed


_KEPT = ("prompt_id", "item", "facts", "cut")
_COLUMNS = (*_KEPT, "text", "finish", "tokens_in", "tokens_out", "logprobs", "error")


def _kept(row: Row) -> Row:
    return {name: row[name] for name in _KEPT}


def _template(engine: Vllm) -> str:
    if not engine.chat_template:
        return ""
    try:
        return Path(engine.chat_template).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"engine vllm: chat_template {engine.chat_template}: {error.strerror}") from error
