"""The config: one frozen dataclass a stage.

Blocks called ``resources`` decide speed only; everything else decides the result and enters the
fingerprints. ``gradret.config.loading`` reads a config from YAML and the command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from gradret.config.fields import above_zero, at_least, component, expand_home, folder_name, list_of, refuse, share
from gradret.config.written import Setting
from gradret.errors import ConfigError

__all__ = ["Config", "Encode", "Evaluate", "Index", "Rule", "Search", "Workers"]


@dataclass(frozen=True)
class Workers:
    """Who works on a stage's shards on Ray; decides speed only."""

    actors: int = 1
    """How many work side by side; 0 leaves it to Ray."""
    gpus: float = 0.0
    """GPUs each."""

    def __post_init__(self) -> None:
        refuse(actors=at_least(0, self.actors), gpus=at_least(0, self.gpus))


@dataclass(frozen=True)
class EncodeResources(Workers):
    """Who encodes; decides speed only."""

    threads: int = 0
    """CPU threads each; 0 takes all cores of the machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(threads=at_least(0, self.threads))


@dataclass(frozen=True)
class Ingest:
    """Read the dataset."""

    max_words: int = 512
    """Documents over this many words are counted in the report (a model may not read them whole)."""
    max_bad_share: float = 0.1
    """Stop if more than this share of a file's rows has to be quarantined."""

    def __post_init__(self) -> None:
        refuse(max_words=at_least(1, self.max_words), max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Dedupe:
    """Choose the documents to write queries about."""

    max_docs: int = 100_000
    """At most this many, drawn by a hash of seed and doc_id."""
    min_chars: int = 10
    """Documents whose normalised text is shorter get no queries."""
    window: int = 9
    """A document contained in one of its next ``window`` neighbours in sorted order is a copy."""
    near: float = 0.0
    """Documents whose sets of word 5-grams have at least this Jaccard similarity, as MinHash estimates it,
    are copies too; 0 looks for none."""
    resources: Workers = Workers(actors=0)

    def __post_init__(self) -> None:
        refuse(
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
    """Add the dataset's training queries, if it has any. With the retriever ``positives`` their lists hold what
    people judged relevant."""
    max_bad_share: float = 0.2
    """Stop if more than this share of a language model's answers cannot be used."""
    resources: Workers = Workers(actors=0)

    def __post_init__(self) -> None:
        refuse(max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Mine:
    """Choose which documents each query is graded against."""

    retrievers: Any = component(
        "retrievers",
        [{"name": "source"}, {"name": "teacher"}, {"name": "random"}],
        many=True,
    )
    leak_similarity: float = 0.8
    """Training queries at least this similar to a test query (Jaccard, character 4-grams) are dropped; 0 keeps all."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        refuse(leak_similarity=share(self.leak_similarity))


@dataclass(frozen=True)
class Check:
    """See, before labels are paid for, that the teacher ranks better than what it is to teach."""

    queries: int = 200
    """Judged queries at most: the dataset's dev or training queries, else generated ones, whose source
    document is the one relevant; 0 checks nothing."""
    retriever: Any = component("retrievers", {"name": "dense", "k": 100})
    """Whose documents the teacher ranks again, and which it has to beat in nDCG@10. By default the student
    before training."""
    stop: bool = True
    """Stop the run if it does not; on fewer than 20 queries only if it is significantly worse."""

    def __post_init__(self) -> None:
        refuse(queries=at_least(0, self.queries))


@dataclass(frozen=True)
class Label:
    """Score every pair with a teacher."""

    teacher: Any = component("teachers", {"name": "fusion"})
    max_bad_share: float = 0.2
    """Stop if more than this share of a language model's answers cannot be used."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        refuse(max_bad_share=share(self.max_bad_share))


@dataclass(frozen=True)
class Rule:
    """What the documents that a retriever found become in a training list."""

    origin: str
    """The retriever's name, as PAIRS has it: a second ``bm25`` is ``bm25.2``."""
    grade: float | None = None
    """Their grade, 0 to 1, whether the teacher scored them or not; null is the teacher's."""
    positive: bool | None = None
    """Whether they are positives; null as without rules."""
    limit: int = 0
    """At most this many a query, the best ranks first, of those that no later rule takes; 0 takes all."""

    def __post_init__(self) -> None:
        refuse(
            origin="" if self.origin else "is empty; name a retriever of mine.retrievers",
            grade="" if self.grade is None else share(self.grade),
            limit=at_least(0, self.limit),
        )


@dataclass(frozen=True)
class Select:
    """Turn scored pairs into training lists.

    A query passes the filters in the order of the fields below, and is dropped by the first that it fails.
    """

    unique: bool = False
    """Drop a query whose words, case and punctuation aside, another with a smaller query_id has."""
    min_words: int = 0
    """Drop shorter queries."""
    max_words: int = 0
    """Drop longer ones; 0 sets no limit."""
    round_trip: int = 0
    """Keep a query only if a retriever of mine that searches ranks its source document this high; 0 keeps all,
    and a query without source document passes, here and in ``source_within``."""
    source_within: int = 0
    """Keep a query only if the teacher ranks its source document this high in its list; 0 keeps all."""
    score_floor: float = 0.0
    """Drop a query whose best document scores below this percentile of all scores; 0 keeps all."""
    absolute_margin: float | None = None
    """Leave out of the list documents, other than positives, whose grade is above the best positive's
    minus this; null leaves out none."""
    relative_margin: float | None = None
    """Likewise above (1 - this) times the best positive's grade."""
    max_per_kind: int = 0
    """Keep at most this many queries of a kind, drawn by a hash of seed and query_id; 0 keeps all."""
    normalise: Literal["all", "kind", "query"] = "all"
    """Over which scores percentiles and levels are taken: all, those of queries of the same kind, or the query's
    own. A query whose own are all the same is dropped."""
    low: float = 1.0
    """Percentile of the scores that becomes grade 0."""
    high: float = 95.0
    """Percentile of the scores that becomes grade 1."""
    grades: Literal["scaled", "as_is", "thresholds", "quantiles"] = "scaled"
    """How a score becomes a grade: scaled between the two percentiles and clipped; as it is, where all are
    0 to 1 already; by the number of thresholds that it reaches; or by equally filled levels."""
    thresholds: tuple[float, ...] = ()
    """Raw scores, ascending; reaching n of N makes grade n / N."""
    levels: int = 4
    """Grades that ``quantiles`` makes, from 0 to 1."""
    positive_from: float | None = None
    """Documents of the list with at least this grade are positives of the query too; null makes none."""
    positives_by: Literal["all", "teacher"] = "all"
    """Who names positives: all, or the teacher alone, by its ``positive_above`` or by ``positive_from``. Under
    ``teacher`` the source document and what ``positives`` found are graded like any other document (homogeneous
    labels). A rule's ``positive`` overrides both."""
    mix: Any = list_of(Rule)
    """Which documents go into the lists, and as what; where two rules name one, the last counts. Positives are
    stored in the order of the first rules that name them. Without rules all scored documents go in, graded by
    the teacher; positives are the source document, what ``positives`` found, what is above the teacher's
    ``positive_above`` or reaches ``positive_from``, and their copies."""
    dev_share: float = 0.03
    """Share of source documents whose queries are held out to choose the checkpoint."""

    def __post_init__(self) -> None:
        ordered = 0 <= self.low < self.high <= 100
        rising = all(one < two for one, two in pairwise(self.thresholds))
        by_threshold = self.grades == "thresholds"
        refuse(
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
            else f"must ascend where grades is thresholds, and be empty elsewhere, got {list(self.thresholds)}",
            levels=at_least(2, self.levels),
            dev_share="" if 0 < self.dev_share < 1 else f"must lie between 0 and 1, got {self.dev_share}",
        )


@dataclass(frozen=True)
class TrainResources:
    """Who trains; decides speed only (with an encoder's dropout on, chunk_size decides what is dropped)."""

    num_workers: int = 1
    chunk_size: int = 4096
    """Texts encoded at once; bounds the memory of activations."""
    checkpoint_every: int = 0
    """Steps between checkpoints; one is written after every epoch anyway."""
    threads: int = 0
    """CPU threads a worker; 0 takes all cores."""
    gpus: float = 0.0
    """GPUs a worker."""

    def __post_init__(self) -> None:
        refuse(
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
    """Queries an optimizer step, over all workers."""
    learning_rate: float = 5e-3
    seed: int | None = None
    """Of the order of lists and of dropout; null is the run's ``seed``."""
    loss_learning_rate: float | None = None
    """Of the losses' own parameters, such as BiXSE's bias; null is learning_rate, which is too low for
    them where a transformer's is right."""
    warmup: float = 0.08
    """Share of all steps over which the learning rate rises from 0."""
    floor: float = 0.02
    """The learning rate falls linearly to this share of itself."""
    weight_decay: float = 0.0
    """AdamW's, on matrices; biases, norms and the losses' own parameters have none."""
    max_grad_norm: float = 0.0
    """Longer gradients are scaled down to this norm; 0 leaves them."""
    list_length: int = 24
    """Documents of a query's list that a step uses. 1 is one labelled pair a query, for losses that need no more,
    such as ``bixse`` and ``infonce``: the other documents of the batch are the negatives."""
    max_positives: int = 0
    """Positives in it, the first in stored order; 0 sets no limit."""
    choose_by: Literal["dev_ndcg", "dev_loss"] = "dev_ndcg"
    """Which epoch's weights are kept, the untrained ones (epoch 0) included: nDCG@10 of the held-out
    queries on a sampled corpus with the teacher's grades as gains, or the loss on their lists. The loss
    also counts how sure the student is, and rises while its order still improves."""
    dev_docs: int = 1000
    """Documents drawn from the corpus that the sampled corpus has beside those of the held-out lists."""
    patience: int = 2
    """Stop after this many epochs without a better one."""
    resources: TrainResources = TrainResources()

    def __post_init__(self) -> None:
        refuse(
            epochs=at_least(1, self.epochs),
            batch_size=at_least(1, self.batch_size),
            learning_rate=above_zero(self.learning_rate),
            seed=at_least(0, self.seed or 0),
            loss_learning_rate="" if self.loss_learning_rate is None else above_zero(self.loss_learning_rate),
            warmup=share(self.warmup),
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
    """Turn texts into vectors."""

    precision: Literal["float16", "float32"] = "float32"
    """What vectors are stored in; float16 halves their size. The encoder sets the compute precision."""
    resources: EncodeResources = EncodeResources()


@dataclass(frozen=True)
class IndexResources(Workers):
    """Who builds; decides speed only."""

    actors: int = 0
    """How many shards are built side by side; 0 takes one a core, as far as memory goes."""
    memory_gib: float = 0.0
    """What building may take on a node; 0 is four fifths of this machine's memory, or what is free if that is less."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse(memory_gib=at_least(0, self.memory_gib))


@dataclass(frozen=True)
class Index:
    """Build FAISS shards."""

    factory: str = "Flat"
    """A FAISS factory string; Flat is exact search. ``auto`` chooses one from the size of the corpus and the
    memory, and says why."""
    num_shards: int = 1
    resources: IndexResources = IndexResources()

    def __post_init__(self) -> None:
        refuse(factory=self._wrong_factory(), num_shards=at_least(1, self.num_shards))

    def _wrong_factory(self) -> str:
        if not self.factory.strip():
            return "is empty; Flat is exact search"
        if self.factory in ("Flat", "auto"):  # known to be right: nothing to import
            return ""
        from gradret.search.factory import misspelt

        return misspelt(self.factory)


@dataclass(frozen=True)
class Search:
    """Search the test queries."""

    k: int = 1000
    """Documents a query in a run."""
    parameters: str = ""
    """FAISS search parameters, such as ``nprobe=32`` or ``efSearch=128``, over defaults of ours that suit the
    index. They build nothing anew."""
    resources: Workers = Workers(actors=0)
    """``actors`` hold the shards, and are never more than these; 0 takes one a core for exact search, one a node
    for other types, whose shards it merges in memory, and one a GPU."""

    def __post_init__(self) -> None:
        known = all(re.fullmatch(r"\w+=[\d.]+", part) for part in filter(None, self.parameters.split(",")))
        refuse(
            k=at_least(1, self.k),
            parameters="" if known else f"must be like nprobe=32,efSearch=64, got {self.parameters!r}",
        )


_MEASURES = ("nDCG@10", "Recall@100", "MRR@10", "MAP", "judged@10")


@dataclass(frozen=True)
class Evaluate:
    """Compute measures."""

    measures: tuple[str, ...] = _MEASURES
    """As ir_measures knows them: nDCG, Recall, MRR, MAP, P, judged; @ cuts off, (rel=2) sets what is relevant.
    judged@k comes beside every nDCG@k by itself."""
    test: Literal["two-sided", "one-sided"] = "two-sided"
    """The paired t-test: whether two systems differ, or whether the one is better than the other."""

    def __post_init__(self) -> None:
        if self.measures == _MEASURES:  # known to be right: nothing to import
            return
        from gradret.measures import parse_measures

        try:
            parse_measures(self.measures)
        except ConfigError as error:
            raise ConfigError.of([problem.removeprefix("evaluate.") for problem in error.problems]) from None


@dataclass(frozen=True)
class CompareResources:
    """How many trainings run side by side; decides speed only."""

    concurrent: int = 0
    """0 takes as many as there are nodes, or GPUs, for the workers that each needs."""

    def __post_init__(self) -> None:
        refuse(concurrent=at_least(0, self.concurrent))


@dataclass(frozen=True)
class Compare:
    """Recipes to run beside each other with ``gradret compare``."""

    recipes: dict[str, list[str]] = field(default_factory=dict)
    """By name, what each sets in the config: ``key=value``, as on the command line."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each recipe runs once with each."""
    vary: Literal["train.seed", "seed"] = "train.seed"
    """What the seeds set: the training's alone, on the same lists, or the whole run's, its data too."""
    resources: CompareResources = CompareResources()

    def __post_init__(self) -> None:
        differ = bool(self.seeds) and len(set(self.seeds)) == len(self.seeds)
        refuse(seeds="" if differ else f"must be one or more different numbers, got {list(self.seeds)}")


@dataclass(frozen=True)
class Dimension:
    """A key of the config that is searched: one of ``values``, or a number from ``low`` to ``high``."""

    key: str
    """Such as ``train.learning_rate`` or ``train.loss[1].weight``."""
    values: tuple[Setting, ...] = ()
    """As on the command line, after ``key=``."""
    low: float | None = None
    high: float | None = None
    log: bool = False
    """Draw the logarithm evenly."""
    whole: bool = False
    """Whole numbers only."""

    def __post_init__(self) -> None:
        between = self.low is not None and self.high is not None
        block = re.split(r"[.\[]", self.key)[0]
        refuse(
            key=""
            if block in SEARCHABLE
            else f"must be a key of {', '.join(SEARCHABLE[:-1])} or {SEARCHABLE[-1]}, got {self.key!r}",
            values="" if bool(self.values) != between else "give values, or low and high",
            high="" if not between or (self.low or 0) < (self.high or 0) else f"must be above low={self.low}",
            log="" if not self.log or (self.low or 0) > 0 else f"needs low above 0, got {self.low}",
        )


SEARCHABLE = ("dedupe", "generate", "mine", "label", "select", "train")
"""Stages whose settings may be searched, in the order of the flow."""


@dataclass(frozen=True)
class Tune:
    """What ``gradret tune`` searches, and for how long."""

    space: Any = list_of(Dimension)
    trials: int = 20
    hours: float = 0.0
    """Start no trial after so many hours; 0 sets no limit."""
    search: Literal["optuna", "random"] = "optuna"
    """``optuna`` draws where earlier trials were good (TPE)."""
    stop_early: bool = True
    """Stop trials whose first epochs are worse than others' (ASHA), where the space is within training."""
    confirm: int = 3
    """The best trials to train again with each of ``seeds``, measured on the whole corpus; the best of them wins."""
    seeds: tuple[int, ...] = (0, 1, 2)
    resources: CompareResources = CompareResources()

    def __post_init__(self) -> None:
        refuse(
            trials=at_least(1, self.trials),
            hours=at_least(0, self.hours),
            confirm=at_least(1, self.confirm),
            seeds="" if self.seeds else "must be one or more numbers",
        )


def _needed_of_mine(mine: Mine, select: Select) -> dict[str, str]:
    """What ``select`` asks for that ``mine.retrievers`` do not give, by key."""
    if not mine.retrievers or not (select.mix or select.round_trip):
        return {}
    from gradret.components import unknown
    from gradret.origins import origins, searching

    known, found_by_search = origins(mine.retrievers), searching(mine.retrievers)
    wrong = {
        f"select.mix[{number}].origin": unknown(rule.origin, known, "one of mine.retrievers")
        for number, rule in enumerate(select.mix)
        if rule.origin not in known
    }
    if select.round_trip and not found_by_search:
        wrong["select.round_trip"] = (
            f"needs one of mine.retrievers that searches, and there are only {', '.join(known)}"
        )
    return wrong


def _needed_of_label(label: Label, select: Select) -> dict[str, str]:
    """What ``select`` asks for that ``label.teacher`` does not give, by key."""
    named = select.positive_from is not None or any(rule.positive for rule in select.mix)
    if select.positives_by != "teacher" or named or not label.teacher or label.teacher.positive_above is not None:
        return {}
    return {
        "select.positives_by": "is teacher, and nothing says which documents the teacher names: "
        "set label.teacher.positive_above where the teacher has it, or select.positive_from"
    }


_OF_TWO_DOCUMENTS = {"two graded", "two grades", "teacher scores"}
"""What a loss may need that no list of one document has; keys of ``gradret.losses.NEEDS``."""


def _needed_of_lists(train: Train) -> dict[str, str]:
    """Which losses cannot be trained on lists of one document, by key."""
    if train.list_length > 1:
        return {}
    from gradret.components import name_of

    greedy = [name_of(loss) for loss in train.loss or () if _OF_TWO_DOCUMENTS.intersection(getattr(loss, "needs", ()))]
    return {"train.list_length": f"must be at least 2 for {' and '.join(greedy)}, got 1"} if greedy else {}


@dataclass(frozen=True)
class Config:
    """The whole of a run."""

    name: str
    dataset: Any = component("datasets")
    storage_path: str = "storage"
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
        object.__setattr__(self, "storage_path", expand_home(self.storage_path))
        refuse(
            name=folder_name(self.name),
            storage_path="" if self.storage_path.strip() else "is empty; name a folder",
            seed=at_least(0, self.seed),
            **_needed_of_mine(self.mine, self.select),
            **_needed_of_label(self.label, self.select),
            **_needed_of_lists(self.train),
        )
