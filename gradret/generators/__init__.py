"""Generators: queries about documents, or documents for queries.

A generator is a frozen dataclass that inherits ``Generator`` and declares what it does. By default ``load`` gives
a function from a document to its queries. One that ``asks_llm`` has an ``engine`` and gives a ``Task``: the prompts
about a shard, and how their answers are read. One that ``takes_queries`` has ``drawn``, and its shards are of
queries: with an engine it writes documents for them, without one ``load`` gives a ``Worker`` from a shard of
queries to those that are kept. To add one, write ``gradret/generators/NAME.py`` with a dataclass called NAME.
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
    """A query and what kind it is."""

    kind: str
    text: str


Write = Callable[[str, str, str], list[Generated]]
"""(doc_id, title, text) to queries; what it draws, it draws by a hash of seed and doc_id."""


class Generator(Protocol):
    """What generate needs of a generator. A component inherits it, and with it the defaults."""

    asks_llm: ClassVar[bool] = False
    """Whether it has an ``engine`` that answers prompts."""
    takes_queries: ClassVar[bool] = False
    """Whether it works on QUERIES that its ``drawn`` gives, not on sampled documents."""

    @property
    def templates(self) -> tuple[str, ...]:
        """Templates that its prompts are made of; their content enters the fingerprint."""
        return ()

    def prepare(self, config: Config, ingested: Artifact, sample: Artifact) -> dict[str, Artifact]:
        """Artifacts that ``load`` will read. What is wrong with the settings is said here, on the driver."""

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> Write | Task | Worker:
        """Called once a worker. ``sampled`` is the number of documents to write about."""


class LLMGenerator(Generator, Protocol):
    """What generate needs of a generator that asks an LLM: ``load`` gives a Task over shards of DOCS."""

    @property
    def engine(self) -> Engine:
        """Who answers."""

    def load(self, prepared: dict[str, Artifact], sampled: int, seed: int) -> Task: ...


class DocumentGenerator(LLMGenerator, Protocol):
    """What generate needs of a generator that writes documents: ``load`` gives a Task over shards of QUERIES.

    Its results have the tables ``queries``, ``docs`` and ``labels``.
    """

    def drawn(self, prepared: dict[str, Artifact], seed: int) -> pa.Table:
        """Rows of QUERIES to write documents for."""
