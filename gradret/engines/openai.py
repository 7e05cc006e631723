"""Any OpenAI-compatible chat endpoint: OpenAI, vLLM's server and others with the same API."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import logging
import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gradret.config.fields import above_zero, at_least, location, require
from gradret.engines import Engine, Prompt, Row, Write
from gradret.engines._counting import Bytes, Tokenizer
from gradret.engines._fit import Tokens, fit
from gradret.errors import ConfigError, StageError
from gradret.progress import say

if TYPE_CHECKING:
    import pyarrow as pa
    from openai.types.chat import ChatCompletion
    from openai.types.chat.chat_completion import Choice
    from ray.data import Dataset

__all__ = ["OpenAI", "OpenAIResources"]

# OpenAI's maximum, and the default maximum of vLLM's server.
_TOP_LOGPROBS = 20
_CHECK_SECONDS = 10.0
_ERROR_CHARS = 300


@dataclass(frozen=True)
class OpenAIResources:
    """Load on the endpoint; affects speed only, not results."""

    concurrency: int = 32
    """Requests in flight per client."""
    clients: int = 1
    """Client processes; one is enough for hundreds of requests a second."""
    batch_size: int = 32
    """Prompts per batch. A client that dies loses a few batches, which are sent again."""
    retries: int = 6
    """Retries of a request after 408, 409, 429, 5xx, a timeout or a broken connection. The pause is the
    server's Retry-After, up to 2 minutes (a longer one fails the request); without it, the pause doubles
    from half a second to 8 seconds: about 20 seconds over 6 retries."""
    timeout: float = 600.0
    """Seconds to wait for an answer before the request is sent again."""

    @property
    def calls(self) -> int:
        """Batches that a client answers at once: enough that every request has one."""
        return math.ceil(self.concurrency / self.batch_size) + 1

    def __post_init__(self) -> None:
        require(**{name: at_least(1, getattr(self, name)) for name in ("concurrency", "clients", "batch_size")})
        require(retries=at_least(0, self.retries), timeout=above_zero(self.timeout))


@dataclass(frozen=True)
class OpenAI(Engine):
    """A model behind an OpenAI-compatible chat endpoint, which applies the chat template itself.

    A request has the messages, temperature, top_p, seed and the maximum tokens of the answer, and a JSON
    schema as ``response_format`` with ``strict``. ``min_tokens`` is sent if it is above 1, but never to
    OpenAI, which has no such parameter; other endpoints may ignore it. Whether a seed reproduces an
    answer depends on the endpoint.

    Log-probabilities of choices are read from the 20 most likely first tokens. A token counts for a
    choice if it equals its text, with or without one leading space; the probabilities of both forms are
    added. A choice that is not among the 20 gets -inf. (The engine ``vllm`` reads the exact tokens,
    however unlikely.)

    A request that fails for good becomes a row with ``finish`` "error", and the others go on. So does a
    refusal, whose text is kept.

    Source: OpenAI's chat completions API; requests and retries are the ``openai`` package's.
    """

    model: str
    """The model's name at the endpoint."""
    base_url: str = "https://api.openai.com/v1"
    """The URL before ``/chat/completions``. Results are recomputed when it changes: another endpoint may
    serve another model under the same name."""
    key_env: str = "OPENAI_API_KEY"
    """The environment variable with the API key, on the machines that send requests. The key is sent to
    ``base_url`` only and is never written to a file, log or message. Empty sends no key."""
    tokenizer: str | None = location(None)
    """A model folder or Hub id whose tokenizer counts prompts and truncates documents. null assumes 3
    bytes per token plus 16 tokens per message: an estimate, not measured, that is high for prose; text
    that is mostly digits or symbols may have more tokens."""
    max_model_len: int = 8192
    """The model's context in tokens, prompt and answer together; documents are truncated to fit."""
    extra_body: dict[str, Any] = field(default_factory=dict, hash=False)
    """Further parameters of each request, such as ``top_k: 20`` or ``service_tier: flex``; they override
    all others."""
    resources: OpenAIResources = OpenAIResources()
    """``concurrency``, ``clients``, ``batch_size``, ``retries`` and ``timeout``: the load on the endpoint."""

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if url.username or url.password:
            raise ValueError(
                "base_url must not contain a user or password; set key_env to the variable that holds the key"
            )
        if url.scheme not in {"http", "https"} or not url.netloc:
            raise ValueError(f"base_url must be a URL such as http://host:8000/v1, got {self.base_url!r}")
        if not re.fullmatch("([A-Z_][A-Z0-9_]*)?", self.key_env):
            # Do not repeat the value: it may be the key itself.
            raise ValueError("key_env must be the name of an environment variable, in capitals, never the key itself")
        require(max_model_len=at_least(1, self.max_model_len))

    def alone(self, batch_size: int) -> OpenAI:
        return replace(self, resources=replace(self.resources, batch_size=batch_size))

    @property
    def key(self) -> str:
        """The API key from this process's environment; empty if there is none."""
        return os.environ.get(self.key_env, "").strip() if self.key_env else ""

    @property
    def official(self) -> bool:
        """Whether this is OpenAI's own endpoint, which requires a key and names some parameters differently."""
        return urlsplit(self.base_url).hostname == "api.openai.com"

    def check(self) -> None:
        """Check package, tokenizer and key, and list the endpoint's models with one small request.

        Raises:
            ConfigError: the package ``openai`` is not installed, the tokenizer cannot be loaded, or the
                key is missing or refused.
            StageError: no connection to the endpoint.
        """
        if importlib.util.find_spec("openai") is None:
            raise ConfigError("engine openai: the package openai is not installed; pip install 'gradret[openai]'")
        self.load()
        if self.official and not self.key:
            raise ConfigError(
                f"engine openai: {self.base_url} requires an API key, but the environment variable named by key_env "
                f"({self.key_env!r}) is empty or not set; export it, or set key_env to another variable"
            )
        if not (self.key.isascii() and self.key.isprintable()):
            raise ConfigError(
                f"engine openai: the environment variable named by key_env ({self.key_env!r}) "
                "does not contain a valid API key: it has characters that are not printable ASCII"
            )
        self._check_endpoint()

    def _check_endpoint(self) -> None:
        import openai

        client = openai.OpenAI(**_connection(self) | {"timeout": _CHECK_SECONDS, "max_retries": 1})
        try:
            listed = [model.id for model in client.models.list().data]
        except openai.AuthenticationError as error:
            raise ConfigError(
                f"engine openai: {_describe_error(error, self)}; "
                f"set the environment variable named by key_env ({self.key_env!r})"
            ) from None
        except openai.APIConnectionError as error:
            raise StageError(
                f"engine openai: cannot connect to {self.base_url}: {_describe_error(error, self)}"
            ) from None
        except (openai.APIStatusError, AttributeError, TypeError, ValueError) as error:
            # Not every endpoint lists its models.
            reason = _describe_error(error, self)
            say(f"  cannot list {self.base_url}/models: {reason}; continuing (base_url usually ends in /v1)", "warning")
            return
        finally:
            client.close()
        if self.model not in listed:
            known = ", ".join(listed[:10])
            say(
                f"  {self.base_url} does not list the model {self.model!r}; continuing (it lists {known or 'none'})",
                "warning",
            )

    def load(self) -> Write:
        tokens = Bytes() if self.tokenizer is None else Tokenizer(self.tokenizer)
        return functools.partial(_row, self, tokens)

    def answer(self, rows: Dataset) -> Dataset:
        import ray

        engine, resources = self, self.resources

        class Client(_Client):  # a class without arguments: Ray can then restart a dead actor
            def __init__(self) -> None:
                super().__init__(engine)

        # One batch more than can be in flight, so that the next one fills the slots of a batch that ends.
        return rows.repartition(target_num_rows_per_block=resources.batch_size).map_batches(
            Client,
            batch_size=resources.batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=resources.clients,
                max_concurrent_calls_per_actor=resources.calls,
                max_tasks_in_flight_per_actor=2 * resources.calls,
            ),
        )


def _row(engine: OpenAI, tokens: Tokens, prompt: Prompt, seed: int) -> Row:
    """Return the request as JSON text: a table would merge all rows' parameters into one struct type."""
    sampling = prompt.sampling
    max_tokens = 1 if sampling.choices else sampling.max_tokens
    fitted = fit(prompt, tokens, engine.max_model_len - max_tokens)
    request: dict[str, Any] = {
        "model": engine.model,
        "messages": fitted.messages,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": seed,
        # OpenAI deprecates max_tokens; others may not know max_completion_tokens and would set no limit.
        "max_completion_tokens" if engine.official else "max_tokens": max_tokens,
    }
    extra = {}
    if sampling.min_tokens > 1 and not engine.official:
        extra["min_tokens"] = min(sampling.min_tokens, max_tokens)
    if sampling.choices:
        request |= {"logprobs": True, "top_logprobs": _TOP_LOGPROBS}
    if sampling.json_schema is not None:
        schema = {"name": "answer", "strict": True, "schema": sampling.json_schema}
        request["response_format"] = {"type": "json_schema", "json_schema": schema}
    request["extra_body"] = extra | engine.extra_body
    return {
        "request": json.dumps(request),
        "choices": json.dumps(sampling.choices),
        "prompt_tokens": fitted.tokens_in,
        "cut": fitted.cut,
    }


class _Client:
    """Send requests from one process, at most ``concurrency`` at once over all its batches."""

    def __init__(self, engine: OpenAI) -> None:
        import openai

        self.engine = engine
        self.client = openai.AsyncOpenAI(**_connection(engine))
        self.slots = asyncio.Semaphore(engine.resources.concurrency)

    async def __call__(self, batch: pa.Table) -> pa.Table:
        rows = zip(batch["request"].to_pylist(), batch["choices"].to_pylist(), strict=True)
        answers = await asyncio.gather(*(self._ask(json.loads(request), json.loads(each)) for request, each in rows))
        return _with_answers(batch.drop_columns(["request", "choices", "prompt_tokens"]), answers)

    async def _ask(self, request: Row, choices: list[str]) -> Row:
        import openai

        try:
            async with self.slots:
                started = time.monotonic()
                completion = await self.client.chat.completions.create(**request)
            return _read(completion, choices) | {"seconds": time.monotonic() - started}
        except openai.OpenAIError as error:
            return _failed(_describe_error(error, self.engine))
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            return _failed(f"the response is not a chat completion: {_describe_error(error, self.engine)}")


def _connection(engine: OpenAI) -> dict[str, Any]:
    """Return the arguments of the package's clients; also silence its logs below warnings."""
    for name in ("openai", "httpx", "httpcore", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return {
        "base_url": engine.base_url,
        "api_key": engine.key or "none",
        "timeout": engine.resources.timeout,
        "max_retries": engine.resources.retries,
    }


def _read(completion: ChatCompletion, choices: Sequence[str]) -> Row:
    choice = completion.choices[0]
    refusal = getattr(choice.message, "refusal", None)
    usage = completion.usage
    row: Row = {
        "text": refusal or choice.message.content or "",
        "finish": choice.finish_reason or "stop",
        "tokens_in": usage.prompt_tokens if usage else 0,
        "tokens_out": usage.completion_tokens if usage else 0,
        "logprobs": [],
        "error": "",
    }
    if refusal or choice.finish_reason == "content_filter":
        return row | {"finish": "error", "error": "refusal"}
    if row["finish"] not in {"stop", "length"}:
        return row | {"finish": "error", "error": f"finish_reason {row['finish']}"}
    if not choices:
        return row
    if not (choice.logprobs and choice.logprobs.content):
        return row | {"finish": "error", "error": "the endpoint sent no log-probabilities"}
    return row | {"logprobs": _logprobs(choice, choices)}


def _logprobs(answered: Choice, choices: Sequence[str]) -> list[float]:
    """Return the log-probability of each choice as the first token.

    The sampled token may be missing from ``top_logprobs``, so it is added to them.
    """
    assert answered.logprobs is not None
    assert answered.logprobs.content
    first = answered.logprobs.content[0]
    reported = {(first.token, first.logprob)} | {(token.token, token.logprob) for token in first.top_logprobs}
    shares = [sum(math.exp(logprob) for text, logprob in reported if text in {each, f" {each}"}) for each in choices]
    return [math.log(share) if share else -math.inf for share in shares]


def _failed(error: str) -> Row:
    row = {"text": "", "finish": "error", "tokens_in": 0, "tokens_out": 0, "logprobs": [], "seconds": 0.0}
    return row | {"error": error}


def _describe_error(error: Exception, engine: OpenAI) -> str:
    """Describe an error in one line, without the key, which the endpoint or HTTP client may repeat."""
    status, body = getattr(error, "status_code", None), getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    line = f"{status}: {message}" if message else f"{str(error) or type(error).__name__} {error.__cause__ or ''}"
    line = " ".join(line.split())
    return (line.replace(engine.key, "***") if engine.key else line)[:_ERROR_CHARS]


def _with_answers(kept: pa.Table, answers: Sequence[Row]) -> pa.Table:
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "finish": pa.string(),
        "tokens_in": pa.int64(),
        "tokens_out": pa.int64(),
        "logprobs": pa.list_(pa.float64()),
        "error": pa.string(),
        "seconds": pa.float64(),
    }
    for name, kind in types.items():
        kept = kept.append_column(name, pa.array([answer[name] for answer in answers], kind))
    return kept
