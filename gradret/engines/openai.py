"""Any OpenAI-compatible chat endpoint: OpenAI itself, vLLM's server, and whatever else speaks the same."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import json
import logging
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gradret.config.fields import above_zero, at_least, refuse
from gradret.engines import Prompt, Row, Write
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

# OpenAI gives at most so many; vLLM's server too, unless it was started with more.
_TOP_LOGPROBS = 20
_CHECK_SECONDS = 10.0
_ERROR_CHARS = 300


@dataclass(frozen=True)
class OpenAIResources:
    """How hard the endpoint is asked; decides speed only."""

    concurrency: int = 32
    """Requests in flight a client."""
    clients: int = 1
    """Clients side by side, each a process; one is enough for hundreds of requests a second."""
    batch_size: int = 32
    """Prompts that travel together; what is asked again when a client dies is a few times this."""
    retries: int = 6
    """How often a request is sent again after 408, 409, 429, 5xx, a timeout or a broken connection. The
    pause is what the server's Retry-After says, up to 2 minutes, else it doubles from half a second to 8:
    about 20 seconds over 6 retries. A longer Retry-After fails the request."""
    timeout: float = 600.0
    """Seconds until a request that gets no answer is sent again."""

    def __post_init__(self) -> None:
        refuse(**{name: at_least(1, getattr(self, name)) for name in ("concurrency", "clients", "batch_size")})
        refuse(retries=at_least(0, self.retries), timeout=above_zero(self.timeout))


@dataclass(frozen=True)
class OpenAI:
    """A model behind an OpenAI-compatible chat endpoint, which applies the chat template itself.

    Sent are the messages, temperature, top_p, seed and the most tokens of the answer; a JSON schema as
    ``response_format`` with ``strict``. ``min_tokens`` is sent where it is above 1, and never to OpenAI,
    which has no such parameter; other endpoints may ignore it. How well a seed repeats an answer is up
    to the endpoint.

    Log-probabilities of choices are read from the 20 likeliest first tokens: a token counts for a choice
    if it is its text, with or without one space before it, and both forms add up; a choice that is not
    among the 20 gets -inf. (vLLM in process gives those of the exact tokens, however unlikely.)

    A request that fails for good is a row with ``finish`` "error", and the others go on; so is a refusal,
    whose text is kept.

    Source: OpenAI's chat completions; requests, retries and their pauses are the ``openai`` package's.
    """

    model: str
    """As the endpoint calls it."""
    base_url: str = "https://api.openai.com/v1"
    """What stands before ``/chat/completions``. It counts as part of the result: another endpoint may
    serve another model under the same name."""
    key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key, on the machines that ask. The key goes to ``base_url``
    and nowhere else: it is in no file, log or message. Empty sends none."""
    tokenizer: str | None = None
    """A model folder or hub id whose tokenizer counts prompts and cuts documents. null takes 3 bytes for
    a token and 16 tokens for a message's frame: a rule of ours, not measured, on the safe side for prose;
    text that is mostly digits or symbols may have more tokens than that."""
    max_model_len: int = 8192
    """The model's context in tokens, prompt and answer; longer prompts have their documents cut."""
    extra_body: dict[str, Any] = field(default_factory=dict, hash=False)
    """More to send with each request, such as ``top_k: 20`` or ``service_tier: flex``; it wins over what
    is sent otherwise."""
    resources: OpenAIResources = OpenAIResources()
    """``concurrency``, ``clients``, ``batch_size``, ``retries`` and ``timeout``: how hard the endpoint is asked."""

    def __post_init__(self) -> None:
        url = urlsplit(self.base_url)
        if url.username or url.password:
            raise ValueError("base_url must hold no user or password: name the key's variable in key_env")
        if url.scheme not in {"http", "https"} or not url.netloc:
            raise ValueError(f"base_url must be a URL such as http://host:8000/v1, got {self.base_url!r}")
        if not re.fullmatch("([A-Z_][A-Z0-9_]*)?", self.key_env):
            # Not repeated: it may be the key itself.
            raise ValueError("key_env must be the name of an environment variable, in capitals, never the key itself")
        refuse(max_model_len=at_least(1, self.max_model_len))

    @property
    def key(self) -> str:
        """The key, from this process's environment; empty where there is none."""
        return os.environ.get(self.key_env, "").strip() if self.key_env else ""

    @property
    def official(self) -> bool:
        """Whether this is OpenAI's own endpoint, which wants a key and has parameters of its own."""
        return urlsplit(self.base_url).hostname == "api.openai.com"

    def check(self) -> None:
        """Refuse what cannot work, and say what looks wrong; one small request.

        Raises:
            ConfigError: the package ``openai`` is not installed, the tokenizer cannot be read, or the
                key is missing or refused.
            StageError: the endpoint cannot be reached.
        """
        if importlib.util.find_spec("openai") is None:
            raise ConfigError("engine openai: its package is not installed; pip install 'gradret[openai]'")
        self.load()
        if self.official and not self.key:
            raise ConfigError(
                f"engine openai: {self.base_url} wants a key, and the environment variable named by key_env "
                f"({self.key_env!r}) holds none; export it, or name another one"
            )
        if not (self.key.isascii() and self.key.isprintable()):
            raise ConfigError(
                f"engine openai: the environment variable named by key_env ({self.key_env!r}) "
                "does not contain a valid API key: it has characters other than ASCII's printable ones"
            )
        self._check_endpoint()

    def _check_endpoint(self) -> None:
        import openai

        client = openai.OpenAI(**_connection(self) | {"timeout": _CHECK_SECONDS, "max_retries": 1})
        try:
            listed = [model.id for model in client.models.list().data]
        except openai.AuthenticationError as error:
            raise ConfigError(
                f"engine openai: {_why(error, self)}; set the environment variable named by key_env ({self.key_env!r})"
            ) from None
        except openai.APIConnectionError as error:
            raise StageError(f"engine openai: {self.base_url} cannot be reached: {_why(error, self)}") from None
        except (openai.APIStatusError, AttributeError, TypeError, ValueError) as error:
            # Not every endpoint lists its models.
            say(f"  {self.base_url}/models: {_why(error, self)}; going on (a base_url mostly ends in /v1)")
            return
        finally:
            client.close()
        if self.model not in listed:
            known = ", ".join(listed[:10])
            say(f"  {self.base_url} does not list a model {self.model!r}; going on (it lists {known or 'none'})")

    def load(self) -> Write:
        tokens = Bytes() if self.tokenizer is None else Tokenizer(self.tokenizer)
        return functools.partial(_row, self, tokens)

    def answer(self, rows: Dataset) -> Dataset:
        import ray

        engine, resources = self, self.resources

        class Client(_Client):  # a class without arguments: Ray can then restart a dead actor
            def __init__(self) -> None:
                super().__init__(engine)

        # One batch more than can be in flight, so that the slots of one that ends are taken by the next.
        batches = math.ceil(resources.concurrency / resources.batch_size) + 1
        return rows.repartition(target_num_rows_per_block=resources.batch_size).map_batches(
            Client,
            batch_size=resources.batch_size,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                size=resources.clients,
                max_concurrent_calls_per_actor=batches,
                max_tasks_in_flight_per_actor=2 * batches,
            ),
        )


def _row(engine: OpenAI, tokens: Tokens, prompt: Prompt, seed: int) -> Row:
    """The request as JSON: a table would make one struct of all rows' parameters."""
    sampling = prompt.sampling
    max_tokens = 1 if sampling.choices else sampling.max_tokens
    fitted = fit(prompt, tokens, engine.max_model_len - max_tokens)
    request: dict[str, Any] = {
        "model": engine.model,
        "messages": fitted.messages,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": seed,
        # OpenAI is giving up the old name; not all others know the new one, and would set no limit.
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
    """Asks from one process: at most ``concurrency`` requests at once, over all batches in hand."""

    def __init__(self, engine: OpenAI) -> None:
        import openai

        self.engine = engine
        self.client = openai.AsyncOpenAI(**_connection(engine))
        self.slots = asyncio.Semaphore(engine.resources.concurrency)

    async def __call__(self, batch: pa.Table) -> pa.Table:
        asked = zip(batch["request"].to_pylist(), batch["choices"].to_pylist(), strict=True)
        answers = await asyncio.gather(*(self._ask(json.loads(request), json.loads(each)) for request, each in asked))
        return _with_answers(batch.drop_columns(["request", "choices", "prompt_tokens"]), answers)

    async def _ask(self, request: Row, choices: list[str]) -> Row:
        import openai

        try:
            async with self.slots:
                completion = await self.client.chat.completions.create(**request)
            return _read(completion, choices)
        except openai.OpenAIError as error:
            return _failed(_why(error, self.engine))
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            return _failed(f"what came back is no chat completion: {_why(error, self.engine)}")


def _connection(engine: OpenAI) -> dict[str, Any]:
    """Arguments of the package's clients, which log nothing below a warning from here on."""
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
    """Of each of ``choices`` as the first token; the drawn token may be among the likeliest or beside them."""
    assert answered.logprobs is not None
    assert answered.logprobs.content
    first = answered.logprobs.content[0]
    told = {(first.token, first.logprob)} | {(token.token, token.logprob) for token in first.top_logprobs}
    shares = [sum(math.exp(logprob) for text, logprob in told if text in {each, f" {each}"}) for each in choices]
    return [math.log(share) if share else -math.inf for share in shares]


def _failed(error: str) -> Row:
    return {"text": "", "finish": "error", "tokens_in": 0, "tokens_out": 0, "logprobs": [], "error": error}


def _why(error: Exception, engine: OpenAI) -> str:
    """One line, without the key, which an endpoint or the HTTP client may repeat."""
    status, body = getattr(error, "status_code", None), getattr(error, "body", None)
    told = body.get("message") if isinstance(body, dict) else None
    line = f"{status}: {told}" if told else f"{str(error) or type(error).__name__} {error.__cause__ or ''}"
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
    }
    for name, kind in types.items():
        kept = kept.append_column(name, pa.array([answer[name] for answer in answers], kind))
    return kept
