"""Settings of the stage ``train``, and those that ``train_teacher`` shares with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

from gradret.config.fields import above_zero, at_least, component, require, share
from gradret.config.resources import TrainResources
from gradret.errors import ConfigError

__all__ = ["Train", "Training"]


@dataclass(frozen=True)
class Training:
    """How a model is trained on lists: what ``train`` and ``train_teacher`` have in common."""

    loss: Any = component(
        "losses", [{"name": "kl"}, {"name": "infonce", "weight": 0.3, "hard_negatives": False}], many=True
    )
    """Their weighted sum is minimised."""
    epochs: int = 4
    """Largest number of passes over the lists; ``patience`` may stop earlier."""
    batch_size: int = 128
    """Queries whose loss is computed together, over all workers: with in-batch negatives, the documents of all of them
    are compared."""
    accumulate: int = 1
    """Batches per optimizer step; their gradients are averaged."""
    learning_rate: float = 5e-3
    """AdamW's largest learning rate, reached after the warm-up."""
    seed: int | None = None
    """Seed of the order of lists and of dropout; null uses the run's ``seed``."""
    loss_learning_rate: float | None = None
    """Learning rate of the losses' parameters, such as BiXSE's bias; null uses ``learning_rate``, which is too low
    for them if it suits a transformer."""
    warmup: float = 0.08
    """Share of all steps over which the learning rate rises linearly from 0."""
    warmup_steps: int = 0
    """Fewest steps over which it rises, if ``warmup`` gives fewer."""
    floor: float = 0.02
    """Share of the learning rate to which it decays linearly at the last step."""
    weight_decay: float = 0.0
    """AdamW's weight decay, on matrices; biases, norms and the losses' parameters have none."""
    max_grad_norm: float = 0.0
    """Clip the gradient to this norm; 0 does not clip."""
    list_length: int = 24
    """Number of documents of a query's list in a step. 1 is a single labelled pair per query, for losses that need
    no more, such as ``bixse`` and ``infonce``: the other documents of the batch are the negatives."""
    max_positives: int = 0
    """Largest number of positives among them; 0 sets no limit."""
    pick_positives: Literal["first", "cycle"] = "first"
    """Which positives if there are more: the first in stored order, or as many in a row from a place that a hash of
    seed and query_id draws and that moves on by one every epoch. The others are masked, never negatives."""
    choose_by: Literal["dev_ndcg", "dev_loss", "last"] = "dev_ndcg"
    """How the epoch is chosen. By nDCG@10 of the held-out queries on a sampled corpus, with the teacher's grades as
    gains, or by the loss on their lists: the best of all epochs and the untrained model (epoch 0). The loss also
    depends on the scale of the scores, and can rise while the ranking still improves; nDCG@10 is then not computed.
    ``last`` trains all epochs and keeps the last, whatever the held-out queries say."""
    patience: int = 2
    """Stop after this many epochs without improvement; ``choose_by: last`` never stops early."""
    resources: TrainResources = TrainResources()

    def __post_init__(self) -> None:
        require(**self._problems())

    def _problems(self) -> dict[str, str]:
        """The problem with each field, by name; empty if there is none."""
        return {
            "epochs": at_least(1, self.epochs),
            "batch_size": at_least(1, self.batch_size),
            "accumulate": at_least(1, self.accumulate),
            "learning_rate": above_zero(self.learning_rate),
            "seed": at_least(0, self.seed or 0),
            "loss_learning_rate": "" if self.loss_learning_rate is None else above_zero(self.loss_learning_rate),
            "warmup": share(self.warmup),
            "warmup_steps": at_least(0, self.warmup_steps),
            "floor": share(self.floor),
            "weight_decay": at_least(0, self.weight_decay),
            "max_grad_norm": at_least(0, self.max_grad_norm),
            "list_length": at_least(1, self.list_length),
            "max_positives": at_least(0, self.max_positives),
            "patience": at_least(1, self.patience),
        }


@dataclass(frozen=True)
class Train(Training):
    """Train the student on the lists."""

    encoder: Any = component("encoders", {"name": "static"})
    """The student, the model that is trained."""
    dimensions: tuple[int, ...] = ()
    """Train the first of these numbers of dimensions of the vectors too, so that vectors can be cut to any of them
    (Matryoshka): the losses are summed over them and the student's own dimension. Empty trains only the latter."""
    dimension_weights: tuple[float, ...] = ()
    """The weight of each of ``dimensions`` in this sum; empty weighs all 1. The student's own dimension weighs 1,
    unless it is among them."""
    dev_docs: int = 1000
    """Number of documents drawn from the corpus for the sampled corpus, in addition to those of the held-out lists."""

    key: ClassVar[str] = "train"
    """The block of the config."""
    pairs: ClassVar[bool] = False
    """Whether the model reads a query and a document together."""

    def _problems(self) -> dict[str, str]:
        return super()._problems() | {
            "dimensions": self._dimensions_problem(),
            "dimension_weights": self._weights_problem(),
            "dev_docs": at_least(0, self.dev_docs),
        }

    def student(self, folder: Path, device: str = "cpu") -> Any:
        """The model in ``folder``, ready to be trained: a ``gradret.training.step.Student``."""
        return self.encoder.student(folder, device)

    def as_loaded(self) -> Train:
        """Settings for the CPU and float32, as users load the model."""
        return replace(self, encoder=self.encoder.as_saved(), resources=replace(self.resources, gpus=0.0))

    def check_dimensions(self, dimension: int | None) -> None:
        """Check that the student's vectors have as many dimensions as ``dimensions`` asks for.

        Args:
            dimension: the student's; None if its encoder does not tell.

        Raises:
            ConfigError: they have fewer.
        """
        largest = max(self.dimensions, default=0)
        if dimension is not None and largest > dimension:
            raise ConfigError(
                f"train.dimensions: must be at most {dimension}, the dimension of the student's vectors, got {largest}"
            )

    def _dimensions_problem(self) -> str:
        ascending = all(low < high for low, high in pairwise((0, *self.dimensions)))
        return "" if ascending else f"must be ascending numbers above 0, got {list(self.dimensions)}"

    def _weights_problem(self) -> str:
        weights, dimensions = list(self.dimension_weights), list(self.dimensions)
        fitting = len(weights) in (0, len(dimensions)) and all(weight > 0 for weight in weights)
        return "" if fitting else f"must be one number above 0 for each of dimensions {dimensions}, got {weights}"
