"""An engine outside gradret that answers without a model, pickled by value for Ray's workers."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from gradret.engines import Engine


@dataclass(frozen=True)
class Resources:
    """Who answers."""

    engines: int = 1
    batch_size: int = 32


@dataclass(frozen=True)
class Echo(Engine):
    """Takes ``seconds`` a prompt; a prompt whose text is ``word`` fails."""

    model: str = "echo"
    seconds: float = 0.0
    word: str = ""
    lengths: bool = True
    resources: Resources = Resources()

    @property
    def engines(self) -> int:
        return self.resources.engines

    def alone(self, batch_size: int) -> Echo:
        return replace(self, resources=Resources(1, batch_size))

    def check(self) -> None:
        """It always works."""

    def load(self) -> Any:
        return self._row

    def answer(self, rows: Any) -> Any:
        import ray

        engine = self

        class Actor:
            def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
                return engine._answered(row)

        return rows.map(Actor, compute=ray.data.ActorPoolStrategy(size=self.resources.engines))

    def _row(self, prompt: Any, seed: int) -> dict[str, Any]:
        length = {"prompt_tokens": len(prompt.texts[0].split())} if self.lengths else {}
        return length | {"cut": 0, "bad": self.word in prompt.texts[0].split()}

    def _answered(self, row: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.seconds)
        kept = {name: row[name] for name in ("prompt_id", "item", "facts", "cut")}
        told = {"tokens_in": row["prompt_tokens"], "logprobs": [], "error": ""}
        if row["bad"]:
            return kept | told | {"text": "", "finish": "error", "tokens_in": 0, "tokens_out": 0, "error": "it broke"}
        return kept | told | {"text": f"about {row['prompt_id']}", "finish": "stop", "tokens_out": 3}
