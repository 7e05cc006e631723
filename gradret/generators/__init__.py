"""Generators write queries about documents, or documents for queries.

A generator is a frozen dataclass that inherits ``Generator`` and declares what it does:

- by default, ``load`` returns a function from a document to its queries;
- if it ``asks_llm``, it has an ``engine``, and ``load`` returns a ``Task`` that writes the prompts about a shard
  and reads their answers;
- if it ``takes_queries``, it has ``drawn``, and its shards contain queries: with an engine it writes documents
  for them; without one, ``load`` returns a ``Worker`` from a shard of queries to those that are kept.

To add a generator, write ``gradret/generators/NAME.py`` with a dataclass called NAME.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from gradret.config.run import Config
    from gradret.engines import Engine, Task
    from gradret.store.artifacts import Artifact
    from gradret.store.results import Worker

__all__ = ["DocumentGenerator", "Generated", "Generator", "LLMGenerator", "Write"]


class Generated(NamedTuple):
    """A generated query and its kind."""

    kind: str
    text: str


Write = Callable[[str, str, str], list[Generated]]
"""Write queries for (doc_id, title, text); random choices are seeded by a hash of seed and doc_id."""


class Generator(Protocol):
    """The interface that the stage ``generate`` uses. Inherit from it to get the defaults."""

    asks_llm: ClassVar[bool] = False
    """Whether it has an ``engine`` that answers prompts."""
    takes_queries: ClassVar[bool] = False
    """Whether its input is the QUERIES that ``drawn`` returns, instead of sampled documents."""

    @property
    def documents_per_query(self) -> int:
        """Maximum number of documents that it writes per query."""
        return 0

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompt templates that it uses; their content enters the fingerprint."""
        return ()

    def prepare(self, config: Config, ingested: Artifact, sample: Artifact) -> dict[str, Artifact]:
        """Return the artifacts that ``load`` reads. Runs on the driver; raise here if the settings are wrong."""

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> Write | Task | Worker:
        """Load the generator; called once in each worker. ``sampled`` is the number of documents to write about."""


class LLMGenerator(Generator, Protocol):
    """The interface of a generator that asks an LLM: ``load`` returns a Task over shards of DOCS."""

    @property
    def engine(self) -> Engine:
        """The engine that answers the prompts."""

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> Task: ...


class DocumentGenerator(LLMGenerator, Protocol):
    """The interface of a generator that writes documents: ``load`` returns a Task over shards of QUERIES.

    Its results have the tables ``queries``, ``docs`` and ``labels``.
    """

    def drawn(self, prepared: dict[str, Artifact], seed: int) -> pa.Table:
        """Return the rows of QUERIES to write documents for."""
