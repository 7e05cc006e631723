"""The scores in the dataset's training lists."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from gradret.datasets import lists, read_settings
from gradret.errors import ConfigError
from gradret.store.artifacts import Artifact, Draft, make
from gradret.teachers import Teacher
from gradret.teachers.file import LabelGrader, label_table

if TYPE_CHECKING:
    from gradret.config.run import Config

__all__ = ["Lists"]

_ROWS_A_SHARD = 250_000


@dataclass(frozen=True)
class Lists(Teacher):
    """The scores of the dataset ``lists``, unchanged; 1 for positive and 0 for negative passages that have none.

    A pair that is in no list is quarantined.
    """

    def prepare(self, config: Config, ingested: Artifact, queries: Artifact) -> dict[str, Artifact]:
        """Store the scores as LABELS.

        Raises:
            ConfigError: the dataset is not ``lists``, or its documents are cut.
        """
        dataset = config.dataset
        if not isinstance(dataset, lists.Lists):
            raise ConfigError("label.teacher: lists takes the scores of the dataset lists; set dataset.name=lists")
        if config.passages.size:
            raise ConfigError("passages.size: must be 0 with label.teacher lists, which has no scores of parts")
        settings = {"dataset": read_settings(config.dataset), "content": dataset.content("qrels")}
        body = functools.partial(_write, dataset)
        storage = config.storage_path
        return {"lists": make("list_scores", storage, module=__name__, settings=settings, inputs={}, body=body)}

    def load(self, prepared: dict[str, Artifact]) -> LabelGrader:
        return LabelGrader(prepared["lists"])


def _write(dataset: lists.Lists, draft: Draft) -> None:
    scores = dataset.scores()
    for number, part in enumerate(iter(lambda: list(islice(scores, _ROWS_A_SHARD)), [])):
        rows = label_table(part, "lists")
        draft.write("labels", rows.drop_columns("where"), number)
        draft.count(rows_out=rows.num_rows)
