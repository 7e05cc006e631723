"""vLLM in process, through ``ray.data.llm``: on GPUs, or on CPU cores with vLLM's CPU build."""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradret.config.fields import at_least, location, require
from gradret.config.resources import Placement
from gradret.engines import Engine, Prompt, Row, Write
from gradret.engines._fit import Message, fit
from gradret.engines._model_files import context_length, eos_ids
from gradret.errors import ConfigError
from gradret.models.chat import PLAIN, ChatTemplate
from gradret.models.gguf import is_gguf
from gradret.models.license import say_license
from gradret.models.locate import locate, on_hub
from gradret.work.nodes import require_nodes

if TYPE_CHECKING:
    from ray.data import Dataset

__all__ = ["Vllm", "VllmResources"]

_DEFAULTS = {
    "enable_prefix_caching": True,
    # Forbid free white space in JSON: some models never stop writing it.
    "structured_outputs_config": {"backend": "xgrammar", "disable_any_whitespace": True},
}
# vLLM's default of max_num_seqs when ray.data.llm starts the engine (0.29).
_MAX_NUM_SEQS = 128
_NO_SECRETS = "a config is stored with its run, so it must hold no secret; set it in the environment of the nodes"
_ON_CPU = {
    "distributed_executor_backend": "uni",
    # vLLM 0.29's CPU build crashes on a seeded prompt that is prefilled in two chunks.
    "enable_chunked_prefill": False,
}


@dataclass(frozen=True)
class VllmResources(Placement):
    """Engines and batches; affects speed only, not results."""

    engines: int = 1
    """Number of engines. Each takes ``tensor_parallel_size`` x ``pipeline_parallel_size`` GPUs."""
    cpus: int = 0
    """CPU cores per engine, for vLLM's CPU build; 0 runs on GPUs."""
    batch_size: int = 32
    """Prompts per batch. An engine that dies loses a few batches, which are sent again."""
    concurrent_batches: int = 8
    """Batches in flight per engine."""
    restarts: int = 10
    """Restarts of an engine that dies, before the stage fails."""
    engine_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """vLLM engine arguments that affect speed and memory only: ``tensor_parallel_size``,
    ``gpu_memory_utilization``, ``max_num_seqs``, ``enforce_eager``, ..."""
    environment: dict[str, str] = field(default_factory=dict, hash=False)
    """Environment variables of the engine's process, such as ``VLLM_CPU_KVCACHE_SPACE``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(**{name: at_least(1, getattr(self, name)) for name in ("engines", "batch_size", "concurrent_batches")})
        require(**{name: at_least(0, getattr(self, name)) for name in ("cpus", "restarts")})
        secrets = [name for name in self.environment if re.search("(TOKEN|KEY|SECRET|PASSWORD)$", name, re.IGNORECASE)]
        require(environment=f"{secrets[0]}: {_NO_SECRETS}" if secrets else "")


@dataclass(frozen=True)
class Vllm(Engine):
    """A model that vLLM runs on this cluster.

    gradret applies the chat template (with the generation prompt), tokenizes and truncates prompts
    before they reach the engine. Prefix caching is on: prompts about the same document share its tokens.

    Source: Kwon et al. 2023 (2309.06180); implementation: vLLM through Ray Data's ``ray.data.llm``.
    """

    model: str = location()
    """A folder, a GGUF file or a Hugging Face Hub id."""
    engine_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """vLLM engine arguments that can change an answer: ``max_model_len``, ``dtype``, ``quantization``,
    ``max_lora_rank``, ... Those that affect speed only belong under ``resources``."""
    chat_template: str = location("")
    """A Jinja file that replaces the tokenizer's chat template, or ``plain`` for base models, which continue the
    texts of a prompt. Only a file's name enters the fingerprint: rename the file when you change it."""
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict, hash=False)
    """Further variables of the chat template, such as ``enable_thinking: false``."""
    lora: str = location("")
    """A LoRA adapter for the model: a folder or a Hub id."""
    resources: VllmResources = VllmResources()
    """``engines``, ``cpus``, ``batch_size``, ...: engines and batches."""

    def __post_init__(self) -> None:
        if "model" in self.engine_kwargs:
            raise ValueError("engine_kwargs must not contain model; set the field model")

    @property
    def engines(self) -> int:
        return self.resources.engines

    @property
    def gpus(self) -> int:
        sizes = (self.arguments.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline"))
        return 0 if self.resources.cpus else math.prod(map(int, sizes))

    @property
    def bundle(self) -> dict[str, float]:
        """What an engine takes of a node: its CPUs, or one of its GPUs."""
        return self.resources.bundle(cpus=self.resources.cpus) if self.resources.cpus else self.resources.bundle(gpus=1)

    @property
    def sequences(self) -> int:
        """Limited by vLLM and by the prompts in flight."""
        in_flight = self.resources.batch_size * self.resources.concurrent_batches
        return int(min(self.arguments.get("max_num_seqs", _MAX_NUM_SEQS), in_flight))

    def alone(self, batch_size: int) -> Vllm:
        return replace(self, resources=replace(self.resources, engines=1, batch_size=batch_size))

    @property
    def context(self) -> int | None:
        """``max_model_len`` if it is set."""
        length = (self.engine_kwargs | self.resources.engine_kwargs).get("max_model_len")
        return None if length is None else int(length)

    @property
    def source(self) -> str:
        """The model's absolute folder, or its Hub id, which every node resolves for itself."""
        in_folder = is_gguf(self.model) or not on_hub(self.model)
        return str(locate(self.model).absolute()) if in_folder else self.model

    def check(self) -> None:
        """Check that vLLM is installed and the model can be loaded.

        Raises:
            ConfigError: vLLM is not installed, or the model cannot be loaded or has no chat template.
        """
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError("engine vllm: vLLM is not installed; pip install 'gradret[vllm]', or see docs/engines.md")
        self.load()
        for reference in filter(None, (self.model, self.lora)):
            say_license(reference)

    def wait(self, stage: str) -> None:
        """Wait for the nodes of one engine.

        Raises:
            ConfigError: this machine lacks the GPUs or CPUs.
            StageError: the cluster got none in time.
        """
        try:
            require_nodes(stage, self.bundle, self.gpus or 1, self.resources.wait_minutes)
        except ConfigError as error:
            raise ConfigError(
                f"{error}; with vLLM's CPU build, set the engine's resources.cpus to the number of cores to use; "
                "otherwise use an endpoint with the engine openai"
            ) from None

    def load(self) -> Write:
        tokens = _ChatTokens(self)
        return functools.partial(_row, tokens, self.lora)

    def answer(self, rows: Dataset) -> Dataset:
        # Without a handler, ray.llm logs its internals to the console.
        logging.getLogger("ray.llm").addHandler(logging.NullHandler())
        from ray.data.llm import build_processor, vLLMEngineProcessorConfig

        resources, bundle, limits = self.resources, self.bundle, {}
        if self.gpus <= 1 and "memory" in bundle:  # one worker without a placement group takes it as an option
            limits["memory"] = bundle.pop("memory")
        settings = vLLMEngineProcessorConfig(
            model_source=self.source,
            engine_kwargs=self.arguments,
            concurrency=(resources.engines, resources.engines),
            batch_size=resources.batch_size,
            max_concurrent_batches=resources.concurrent_batches,
            runtime_env={"env_vars": resources.environment} if resources.environment else None,
            placement_group_config={"bundles": [bundle] * (self.gpus or 1)},
            # gradret applies the template and truncates; vLLM detokenizes.
            chat_template_stage=False,
            tokenize_stage=False,
            detokenize_stage=False,
            should_continue_on_error=True,
            log_engine_metrics=False,
        )
        processor = build_processor(settings, preprocess=_sampling_params, postprocess=_read)
        # Update in place: an assignment makes Ray recompute the stage's resources, wrongly.
        # Calls are repeated as long as engines restart: until Ray knows that a node is lost, each call to it fails.
        limits |= {"max_restarts": resources.restarts, "max_task_retries": -1}
        processor.stages["vLLMEngineStage"].map_batches_kwargs.update(limits)
        # One batch per block, since an engine takes a whole block. strict stops Ray from fusing this step with
        # its neighbours, which would merge the blocks again.
        rows = rows.repartition(target_num_rows_per_block=resources.batch_size, strict=True)
        return processor(rows).map(_answer_row)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the vLLM engine, without the model."""
        kwargs = _DEFAULTS | self.engine_kwargs | self.resources.engine_kwargs
        if self.lora:
            kwargs["enable_lora"] = True
        return _ON_CPU | kwargs if self.resources.cpus else kwargs


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
            raise ConfigError(f"engine vllm: cannot load model {engine.model!r}: {error}") from error
        template = _template(engine)
        if not (template or self.tokenizer.chat_template):
            raise ConfigError(
                f"engine vllm: {engine.model} has no chat template (a base model?); "
                "use an instruct model, or set chat_template to plain or to a Jinja file"
            )
        self.chat = ChatTemplate(self.tokenizer, template, **engine.chat_template_kwargs)
        self.chat.require_user(
            f"engine vllm: {engine.model}", "use an instruct model, or set chat_template to a Jinja file"
        )
        self.context = engine.context or context_length(config)
        self.eos_ids = eos_ids(source, self.tokenizer)
        self.choice_ids: dict[tuple[str, ...], list[int]] = {}

    def text(self, messages: list[Message]) -> str:
        return self.chat.text(messages)

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
        # A character may span several tokens with the same offsets; never keep only part of them.
        return text[: min(offsets[size][0], offsets[size - 1][1])]

    def choices(self, text: str, ids: list[int], choices: tuple[str, ...]) -> list[int]:
        """Return the token id of each choice when it follows ``text``.

        Raises:
            ConfigError: a choice is not one token of this model.
        """
        if choices not in self.choice_ids:
            sequences = [self.ids(text + choice) for choice in choices]
            for choice, sequence in zip(choices, sequences, strict=True):
                if sequence[:-1] != ids:
                    raise ConfigError(
                        f"engine vllm: {choice!r} is not a single token of this model's tokenizer, so its probability "
                        "cannot be read; use another scale or model"
                    )
            self.choice_ids[choices] = [sequence[-1] for sequence in sequences]
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
    # Not named "params": the engine's step writes a column of that name.
    row = {"tokenized_prompt": ids, "asked": json.dumps(params), "eos_ids": tokens.eos_ids, "cut": fitted.cut}
    return row | ({"model": lora} if lora else {})


def _sampling_params(row: Row) -> Row:
    """Parse the sampling parameters, stored as JSON: a table would merge all rows' into one struct type."""
    return {"sampling_params": json.loads(row["asked"])}


def _read(row: Row) -> Row:
    params = json.loads(row["asked"])
    tokens = [int(token) for token in row["generated_tokens"]]
    finished = len(tokens) < params["max_tokens"] or tokens[-1] in set(row["eos_ids"])
    return _passed_through(row) | {
        "text": row["generated_text"],
        "finish": "stop" if finished else "length",
        "tokens_in": int(row["num_input_tokens"]),
        "tokens_out": len(tokens),
        "logprobs": _logprobs(row.get("logprobs"), params.get("logprob_token_ids", ())),
        "error": "",
        "seconds": row["time_taken_llm"],
    }


def _logprobs(by_position: Any, choices: list[int]) -> list[float]:
    if not choices:
        return []
    first = {int(token): entry["logprob"] for token, entry in by_position[0].items() if entry is not None}
    return [float(first.get(token, -math.inf)) for token in choices]


def _answer_row(row: Row) -> Row:
    """Give answers and failures the same columns; Ray does not call ``_read`` on failures."""
    error = row.get("__inference_error__") or ""
    if not error:
        return {name: value for name, value in row.items() if name in _COLUMNS}
    failed: Row = {"text": "", "finish": "error", "tokens_in": 0, "tokens_out": 0, "logprobs": [], "seconds": 0.0}
    return _passed_through(row) | failed | {"error": error}


_PASSED_THROUGH = ("prompt_id", "item", "facts", "cut")
_COLUMNS = (*_PASSED_THROUGH, "text", "finish", "tokens_in", "tokens_out", "logprobs", "error", "seconds")


def _passed_through(row: Row) -> Row:
    return {name: row[name] for name in _PASSED_THROUGH}


def _template(engine: Vllm) -> str:
    if engine.chat_template in {"", "plain"}:
        return PLAIN if engine.chat_template else ""
    try:
        return Path(engine.chat_template).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"engine vllm: chat_template {engine.chat_template}: {error.strerror}") from error
