"""A dataset whose workers read ir_datasets' files from the test's folder."""

from __future__ import annotations

import os
from dataclasses import dataclass

from gradret.datasets.irds import Irds


@dataclass(frozen=True)
class Here(Irds):
    """ir_datasets with a home."""

    home: str = ""
    """Its ``IR_DATASETS_HOME``."""

    def read(self, table, part):
        os.environ["IR_DATASETS_HOME"] = self.home
        yield from super().read(table, part)
