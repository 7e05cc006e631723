"""The config of a run: one frozen dataclass per stage.

Blocks called ``resources`` affect speed only; everything else affects the result and is fingerprinted.
``gradret.config.loading`` reads a config from YAML and the command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from gradret.config.fields import (
    above_zero,
    at_least,
    component,
    folder_name,
    list_of,
    location,
    require,
    set_home,
    share,
    storage_folder,
)
from gradret.config.written import Setting
from gradret.errors import ConfigError

__all__ = ["Config", "Encode", "Evaluate", "Index", "Rule", "Search", "Workers"]


@dataclass(frozen=True)
class Workers:
    """Ray workers of a stage; affects speed only."""

    actors: int = 1
    """Number of workers in parallel; 0 leaves it to Ray."""
    gpus: float = 0.0
    """GPUs per worker."""

    def __post_init__(self) -> None:
        require(actors=at_least(0, self.actors), gpus=at_least(0, self.gpus))


@dataclass(frozen=True)
class EncodeResources(Workers):
    """Ray workers that encode; affects speed only."""

    threads: int = 0
    """CPU threads per worker; 0 uses all cores of the machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(threads=at_least(0, self.threads))


@dataclass(frozen=True)
class Ingest:
    """Read the dataset."""

    max_words: int = 512
    """The report counts documents with more words, which a model may truncate."""
    max_bad_share: float = 0.1
    """Stop if more than this share of the rows cannot be used."""

    def __post_init__(self) -> None:
        require(max_words=at_least(1, self.max_words), max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Dedupe:
    """Choose the documents to write queries about."""

    max_docs: int = 100_000
    """Largest number of documents, drawn by a hash of seed and doc_id."""
    min_chars: int = 10
    """Documents whose normalised text is shorter get no queries."""
    window: int = 9
    """A document contained in one of its next ``window`` neighbours in sorted order is a copy."""
    near: float = 0.0
    """Documents whose sets of word 5-grams have at least this Jaccard similarity (estimated by MinHash) are copies
    too; 0 turns this off."""
    resources: Workers = Workers(actors=0)

    def __post_init__(self) -> None:
        require(
            max_docs=at_least(1, self.max_docs),
            min_chars=at_least(1, self.min_chars),
            window=at_least(0, self.window),
            near=share(self.near),
        )


@dataclass(frozen=True)
class Generate:
    """Write queries about documents."""

    generator: Any = component("generators", {"name": "extractive"})
    training_queries: bool = False
    """Add the dataset's human training queries, if it has any. With the retriever ``positives``, their lists contain
    the documents that people judged relevant."""
    max_bad_share: float = 0.2
    """Stop if more than this share of a language model's answers cannot be used."""
    resources: Workers = Workers(actors=0)

    def __post_init__(self) -> None:
        require(max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Mine:
    """Choose the documents that the teacher grades for each query."""

    retrievers: Any = component(
        "retrievers",
        [{"name": "source"}, {"name": "teacher"}, {"name": "random"}],
        many=True,
    )
    leak_similarity: float = 0.8
    """Drop training queries this similar or more to a test query (Jaccard of character 4-grams); 0 keeps all."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        require(leak_similarity=share(self.leak_similarity))


@dataclass(frozen=True)
class Check:
    """Check that the teacher outranks the student, before labels are paid for."""

    queries: int = 200
    """Largest number of judged queries: the dataset's dev queries, else its training queries, else generated queries
    with their source document as the only relevant one; 0 skips the check."""
    retriever: Any = component("retrievers", {"name": "dense", "k": 100})
    """The retriever that the teacher reranks and must beat in nDCG@10; by default the student before training."""
    stop: bool = True
    """Stop the run if the teacher is not better; on fewer than 20 queries, only if it is significantly worse."""

    def __post_init__(self) -> None:
        require(queries=at_least(0, self.queries))


@dataclass(frozen=True)
class Label:
    """Score every pair with a teacher."""

    teacher: Any = component("teachers", {"name": "fusion"})
    max_bad_share: float = 0.2
    """Stop if more than this share of a language model's answers cannot be used."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        require(max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Rule:
    """How the documents of one retriever enter a training list."""

    origin: str
    """Name of the retriever, as in PAIRS: a second ``bm25`` is ``bm25.2``."""
    grade: float | None = None
    """Grade of its documents, 0 to 1, whether the teacher scored them or not; null uses the teacher's."""
    positive: bool | None = None
    """Whether its documents are positives; null decides as without rules."""
    limit: int = 0
    """Largest number of its documents per query, best ranks first, without those that a later rule takes; 0 sets no
    limit."""

    def __post_init__(self) -> None:
        require(
            origin="" if self.origin else "must not be empty; name a retriever of mine.retrievers",
            grade="" if self.grade is None else share(self.grade),
            limit=at_least(0, self.limit),
        )


@dataclass(frozen=True)
class Select:
    """Turn scored pairs into training lists.

    Filters apply in the order of the fields below, and the first that a query fails drops it.
    """

    unique: bool = False
    """Drop a query with the same words, ignoring case and punctuation, as a query with a smaller query_id."""
    min_words: int = 0
    """Drop queries with fewer words."""
    max_words: int = 0
    """Drop queries with more words; 0 sets no limit."""
    round_trip: int = 0
    """Keep a query only if a retriever of ``mine.retrievers`` that searches has its source document among its first
    ``round_trip``; 0 keeps all. Queries without a source document pass, here and in ``source_within``."""
    source_within: int = 0
    """Keep a query only if the teacher has its source document among its first ``source_within``; 0 keeps all."""
    score_floor: float = 0.0
    """Drop a query whose best document scores below this percentile of the scores; 0 keeps all. Percentiles, here and
    in ``low`` and ``high``, are those of the queries that the filters above keep, in the scope of ``normalise``."""
    absolute_margin: float | None = None
    """Leave out negatives whose grade is above the best positive's grade minus this; null keeps all."""
    relative_margin: float | None = None
    """Leave out negatives whose grade is above (1 - this) times the best positive's grade; null keeps all."""
    max_per_kind: int = 0
    """Keep at most this many queries of a kind, drawn by a hash of seed and query_id; 0 keeps all."""
    normalise: Literal["all", "kind", "query"] = "all"
    """The scores over which percentiles and levels are computed: all scores, those of queries of the same kind, or
    those of the query. With ``query``, a query whose scores are all equal is dropped."""
    low: float = 1.0
    """Percentile of the scores that becomes grade 0."""
    high: float = 95.0
    """Percentile of the scores that becomes grade 1."""
    grades: Literal["scaled", "as_is", "thresholds", "quantiles"] = "scaled"
    """How a score becomes a grade: ``scaled`` between the two percentiles and clipped; ``as_is``, for scores from 0
    to 1; by the number of ``thresholds`` that it reaches; or by ``quantiles``, in equally filled levels."""
    thresholds: tuple[float, ...] = ()
    """Raw scores, ascending; a score that reaches n of N thresholds gets grade n / N."""
    levels: int = 4
    """Number of different grades of ``quantiles``, evenly spaced from 0 to 1."""
    positive_from: float | None = None
    """Documents of the list with at least this grade are positives too; null turns this off."""
    positives_by: Literal["all", "teacher"] = "all"
    """Sources of positives: all, or only the teacher, by its ``positive_above`` or by ``positive_from``. With
    ``teacher``, the source document and the documents of ``positives`` are graded like any other (homogeneous
    labels). A rule's ``positive`` overrides both."""
    mix: Any = list_of(Rule)
    """Rules for which documents enter the lists, and how; if several rules match a document, the last applies.
    Positives are stored in the order of the first rule that matches them. Without rules, all scored documents enter,
    graded by the teacher; positives are the source document, the documents of ``positives``, those that score above
    the teacher's ``positive_above`` or reach ``positive_from``, and copies of all these."""
    dev_share: float = 0.03
    """Share of source documents whose queries are held out to choose the checkpoint."""

    def __post_init__(self) -> None:
        ordered = 0 <= self.low < self.high <= 100
        rising = all(low < high for low, high in pairwise(self.thresholds))
        by_threshold = self.grades == "thresholds"
        require(
            min_words=at_least(0, self.min_words),
            max_words="" if self.max_words == 0 else at_least(max(1, self.min_words), self.max_words),
            round_trip=at_least(0, self.round_trip),
            source_within=at_least(0, self.source_within),
            score_floor="" if 0 <= self.score_floor < 100 else f"must be a percentile, got {self.score_floor}",
            absolute_margin=share(self.absolute_margin or 0.0),
            relative_margin=share(self.relative_margin or 0.0),
            positive_from="" if self.positive_from is None else share(self.positive_from),
            max_per_kind=at_least(0, self.max_per_kind),
            low="" if ordered else f"must be a percentile below select.high={self.high}, got {self.low}",
            thresholds=""
            if rising and bool(self.thresholds) == by_threshold
            else "must be ascending scores if select.grades is thresholds, and empty otherwise, got "
            f"{list(self.thresholds)}",
            levels=at_least(2, self.levels),
            dev_share="" if 0 < self.dev_share < 1 else f"must be above 0 and below 1, got {self.dev_share}",
        )


@dataclass(frozen=True)
class TrainResources:
    """Workers that train; affects speed only (with dropout, ``chunk_size`` also decides the dropout masks)."""

    num_workers: int = 1
    chunk_size: int = 4096
    """Number of texts encoded at once; bounds the memory of activations."""
    checkpoint_every: int = 0
    """Steps between checkpoints; 0 writes one after each epoch only."""
    threads: int = 0
    """CPU threads per worker; 0 uses all cores."""
    gpus: float = 0.0
    """GPUs per worker."""

    def __post_init__(self) -> None:
        require(
            num_workers=at_least(1, self.num_workers),
            chunk_size=at_least(1, self.chunk_size),
            checkpoint_every=at_least(0, self.checkpoint_every),
            threads=at_least(0, self.threads),
            gpus=at_least(0, self.gpus),
        )


@dataclass(frozen=True)
class Train:
    """Train the student on the lists."""

    encoder: Any = component("encoders", {"name": "static"})
    loss: Any = component(
        "losses", [{"name": "kl"}, {"name": "infonce", "weight": 0.3, "hard_negatives": False}], many=True
    )
    epochs: int = 4
    batch_size: int = 128
    """Queries whose loss is computed together, over all workers: with in-batch negatives, the documents of all of them
    are compared."""
    accumulate: int = 1
    """Batches per optimizer step; their gradients are averaged."""
    learning_rate: float = 5e-3
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
    dev_docs: int = 1000
    """Number of documents drawn from the corpus for the sampled corpus, in addition to those of the held-out lists."""
    patience: int = 2
    """Stop after this many epochs without improvement; ``choose_by: last`` never stops early."""
    resources: TrainResources = TrainResources()

    def __post_init__(self) -> None:
        require(
            epochs=at_least(1, self.epochs),
            batch_size=at_least(1, self.batch_size),
            accumulate=at_least(1, self.accumulate),
            learning_rate=above_zero(self.learning_rate),
            seed=at_least(0, self.seed or 0),
            loss_learning_rate="" if self.loss_learning_rate is None else above_zero(self.loss_learning_rate),
            warmup=share(self.warmup),
            warmup_steps=at_least(0, self.warmup_steps),
            floor=share(self.floor),
            weight_decay=at_least(0, self.weight_decay),
            max_grad_norm=at_least(0, self.max_grad_norm),
            list_length=at_least(1, self.list_length),
            max_positives=at_least(0, self.max_positives),
            dev_docs=at_least(0, self.dev_docs),
            patience=at_least(1, self.patience),
        )


@dataclass(frozen=True)
class Encode:
    """Encode documents and queries."""

    precision: Literal["float16", "float32"] = "float32"
    """Precision of stored vectors; float16 halves their size. The encoder sets the compute precision."""
    resources: EncodeResources = EncodeResources()


@dataclass(frozen=True)
class IndexResources(Workers):
    """Workers that build the index; affects speed only."""

    actors: int = 0
    """Number of shards built in parallel; 0 uses one per core, as far as memory allows."""
    memory_gib: float = 0.0
    """Memory for building, per node; 0 uses four fifths of this machine's memory, or its free memory if less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(memory_gib=at_least(0, self.memory_gib))


@dataclass(frozen=True)
class Index:
    """Build the FAISS index."""

    factory: str = "Flat"
    """A FAISS factory string; Flat is exact search. ``auto`` chooses one by corpus size and memory, and logs why."""
    num_shards: int = 1
    resources: IndexResources = IndexResources()

    def __post_init__(self) -> None:
        require(factory=self._factory_problem(), num_shards=at_least(1, self.num_shards))

    def _factory_problem(self) -> str:
        if not self.factory.strip():
            return "must not be empty; set Flat for exact search"
        if self.factory in ("Flat", "auto"):  # known to be valid, so FAISS need not be imported
            return ""
        from gradret.search.factory import misspelt

        return misspelt(self.factory)


@dataclass(frozen=True)
class Search:
    """Retrieve documents for the test queries."""

    k: int = 1000
    """Documents per query."""
    parameters: str = ""
    """FAISS search parameters, such as ``nprobe=32`` or ``efSearch=128``; the defaults depend on the index. Changing
    them does not rebuild the index."""
    resources: Workers = Workers(actors=0)
    """``actors`` hold the shards, at most one per shard; 0 uses one per core for exact search, one per node for other
    types, whose shards are merged in memory, and one per GPU."""

    def __post_init__(self) -> None:
        known = all(re.fullmatch(r"\w+=[\d.]+", part) for part in filter(None, self.parameters.split(",")))
        require(
            k=at_least(1, self.k),
            parameters="" if known else f"must have the form nprobe=32,efSearch=64, got {self.parameters!r}",
        )


_MEASURES = ("nDCG@10", "Recall@100", "MRR@10", "MAP", "judged@10")


@dataclass(frozen=True)
class Evaluate:
    """Compute the measures."""

    measures: tuple[str, ...] = _MEASURES
    """Measures in the notation of ir_measures: nDCG, Recall, MRR, MAP, P, judged; @k is the cutoff, (rel=2) the lowest
    relevant grade. judged@k is added for every nDCG@k."""
    test: Literal["two-sided", "one-sided"] = "two-sided"
    """The paired t-test: whether two systems differ, or whether one is better than the other."""

    def __post_init__(self) -> None:
        if self.measures == _MEASURES:  # known to be valid, so ir_measures need not be imported
            return
        from gradret.measures import parse_measures

        try:
            parse_measures(self.measures)
        except ConfigError as error:
            raise ConfigError.of([problem.removeprefix("evaluate.") for problem in error.problems]) from None


@dataclass(frozen=True)
class CompareResources:
    """Number of trainings in parallel; affects speed only."""

    concurrent: int = 0
    """Number of trainings in parallel; 0 uses as many as the cluster has nodes, or GPUs, for their workers."""

    def __post_init__(self) -> None:
        require(concurrent=at_least(0, self.concurrent))


@dataclass(frozen=True)
class Compare:
    """Recipes that ``gradret compare`` compares."""

    recipes: dict[str, list[str]] = field(default_factory=dict)
    """Overrides of each recipe, by its name: ``key=value``, as on the command line."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each recipe runs once with each seed."""
    vary: Literal["train.seed", "seed"] = "train.seed"
    """The key that the seeds set: ``train.seed`` varies training on the same lists, ``seed`` the whole run."""
    resources: CompareResources = CompareResources()

    def __post_init__(self) -> None:
        differ = bool(self.seeds) and len(set(self.seeds)) == len(self.seeds)
        require(seeds="" if differ else f"must be one or more distinct numbers, got {list(self.seeds)}")


@dataclass(frozen=True)
class Dimension:
    """A dimension of the search space: a config key with a list of ``values``, or a range from ``low`` to ``high``."""

    key: str
    """A key such as ``train.learning_rate`` or ``train.loss[1].weight``."""
    values: tuple[Setting, ...] = ()
    """Values as on the command line, after ``key=``."""
    low: float | None = None
    high: float | None = None
    log: bool = False
    """Sample uniformly on a log scale."""
    whole: bool = False
    """Sample whole numbers only."""

    def __post_init__(self) -> None:
        between = self.low is not None and self.high is not None
        block = re.split(r"[.\[]", self.key)[0]
        require(
            key=""
            if block in SEARCHABLE
            else f"must be a key of {', '.join(SEARCHABLE[:-1])} or {SEARCHABLE[-1]}, got {self.key!r}",
            values="" if bool(self.values) != between else "set either values, or low and high",
            high="" if not between or (self.low or 0) < (self.high or 0) else f"must be above low={self.low}",
            log="" if not self.log or (self.low or 0) > 0 else f"requires low above 0, got {self.low}",
        )


SEARCHABLE = ("dedupe", "generate", "mine", "label", "select", "train")
"""Stages whose keys may be searched, in the order of the flow."""


@dataclass(frozen=True)
class Tune:
    """The search of ``gradret tune``."""

    space: Any = list_of(Dimension)
    trials: int = 20
    hours: float = 0.0
    """Start no trial after this many hours; 0 sets no limit."""
    search: Literal["optuna", "random"] = "optuna"
    """``optuna`` samples near good trials (TPE)."""
    stop_early: bool = True
    """Stop trials that are worse than others after the same number of epochs (ASHA), if all keys are of training."""
    confirm: int = 3
    """Number of best trials to train again with each of ``seeds`` and to measure over the whole corpus; the trial with
    the best mean wins."""
    seeds: tuple[int, ...] = (0, 1, 2)
    resources: CompareResources = CompareResources()

    def __post_init__(self) -> None:
        require(
            trials=at_least(1, self.trials),
            hours=at_least(0, self.hours),
            confirm=at_least(1, self.confirm),
            seeds="" if self.seeds else "must be one or more numbers",
        )


def _retriever_problems(mine: Mine, select: Select) -> dict[str, str]:
    """Settings of ``select`` that no retriever of ``mine`` satisfies, with the problem, by key."""
    if not mine.retrievers or not (select.mix or select.round_trip):
        return {}
    from gradret.components import unknown
    from gradret.origins import origins, searching

    known, search_origins = origins(mine.retrievers), searching(mine.retrievers)
    problems = {
        f"select.mix[{number}].origin": unknown(rule.origin, known, "one of mine.retrievers")
        for number, rule in enumerate(select.mix)
        if rule.origin not in known
    }
    if select.round_trip and not search_origins:
        problems["select.round_trip"] = (
            f"requires one of mine.retrievers that searches, and there are only {', '.join(known)}"
        )
    return problems


def _teacher_problems(label: Label, select: Select) -> dict[str, str]:
    """Settings of ``select`` that ``label.teacher`` does not satisfy, with the problem, by key."""
    named = select.positive_from is not None or any(rule.positive for rule in select.mix)
    if select.positives_by != "teacher" or named or not label.teacher or label.teacher.positive_above is not None:
        return {}
    return {
        "select.positives_by": "is teacher, but no threshold makes a document positive: "
        "set label.teacher.positive_above, if the teacher has it, or select.positive_from"
    }


_NEED_TWO_DOCUMENTS = {"two graded", "two grades", "teacher scores"}
"""Needs of a loss, keys of ``gradret.losses.NEEDS``, that no list of one document meets."""


def _loss_problems(train: Train) -> dict[str, str]:
    """Losses that cannot be trained on lists of one document, with the problem, by key."""
    if train.list_length > 1:
        return {}
    from gradret.components import name_of

    losses = [
        name_of(loss) for loss in train.loss or () if _NEED_TWO_DOCUMENTS.intersection(getattr(loss, "needs", ()))
    ]
    return {"train.list_length": f"must be at least 2 for {' and '.join(losses)}, got 1"} if losses else {}


@dataclass(frozen=True)
class Config:
    """The config of a run."""

    name: str
    dataset: Any = component("datasets")
    storage_path: str = location("storage")
    seed: int = 0
    ingest: Ingest = Ingest()
    dedupe: Dedupe = Dedupe()
    generate: Generate = Generate()
    mine: Mine = Mine()
    check: Check = Check()
    label: Label = Label()
    select: Select = Select()
    train: Train = Train()
    encode: Encode = Encode()
    index: Index = Index()
    search: Search = Search()
    evaluate: Evaluate = Evaluate()
    compare: Compare = Compare()
    tune: Tune = Tune()

    def __post_init__(self) -> None:
        set_home(self)
        require(
            name=folder_name(self.name),
            storage_path=storage_folder(self.storage_path),
            seed=at_least(0, self.seed),
            **_retriever_problems(self.mine, self.select),
            **_teacher_problems(self.label, self.select),
            **_loss_problems(self.train),
        )
