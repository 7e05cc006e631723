"""The config: one frozen dataclass a stage, read from defaults < YAML < command line.

All errors are found before the first is raised, each with its key and, where a name is close to a
known one, a suggestion. Blocks called ``resources`` decide speed only; everything else decides
the result and enters the fingerprints.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, Literal

from gradret import components
from gradret.errors import ConfigError

__all__ = ["Config", "Workers", "component", "load", "parse", "to_yaml"]


def component(kind: str, default: object = MISSING, *, many: bool = False) -> Any:
    """A field that holds a component of ``kind``, or with ``many`` a list of them.

    ``default`` is what the YAML would hold: ``{"name": ...}`` or a list of such, or None where there
    may be no component.
    """
    metadata = {"kind": kind, "many": many, "default": default}
    return field(metadata=metadata) if default is MISSING else field(default=None, metadata=metadata)


def _refuse(**wrong: object) -> None:
    """Raise one error for all keys whose value is not empty: it is what the key must be.

    Raises:
        ConfigError: with a line a key.
    """
    problems = [f"{key}: {must}" for key, must in wrong.items() if must]
    if problems:
        raise ConfigError.of(problems)


def _at_least(least: float, value: float) -> str:
    return "" if value >= least else f"must be at least {least}, got {value}"


def _above_zero(value: float) -> str:
    return "" if value > 0 else f"must be above 0, got {value}"


def _share(value: float) -> str:
    return "" if 0 <= value <= 1 else f"must be a share from 0 to 1, got {value}"


@dataclass(frozen=True)
class Workers:
    """Who works on a stage's shards on Ray; decides speed only."""

    actors: int = 1
    """How many work side by side; 0 leaves it to Ray."""
    gpus: float = 0.0
    """GPUs each."""

    def __post_init__(self) -> None:
        _refuse(actors=_at_least(0, self.actors), gpus=_at_least(0, self.gpus))


@dataclass(frozen=True)
class EncodeResources(Workers):
    """Who encodes; decides speed only."""

    threads: int = 0
    """CPU threads each; 0 takes all cores of the machine."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(threads=_at_least(0, self.threads))


@dataclass(frozen=True)
class Ingest:
    """Read the dataset."""

    max_words: int = 512
    """Documents over this many words are counted in the report (a model may not read them whole)."""
    max_bad_share: float = 0.1
    """Stop if more than this share of a file's rows has to be quarantined."""

    def __post_init__(self) -> None:
        _refuse(max_words=_at_least(1, self.max_words), max_bad_share=_share(self.max_bad_share))


@dataclass(frozen=True)
class Dedupe:
    """Choose the documents to write queries about."""

    max_docs: int = 100_000
    """At most this many, drawn by a hash of seed and doc_id."""
    min_chars: int = 10
    """Documents whose normalised text is shorter get no queries."""
    window: int = 9
    """A document contained in one of its next ``window`` neighbours in sorted order is a copy."""

    def __post_init__(self) -> None:
        _refuse(
            max_docs=_at_least(1, self.max_docs),
            min_chars=_at_least(1, self.min_chars),
            window=_at_least(0, self.window),
        )


@dataclass(frozen=True)
class Generate:
    """Write queries about documents."""

    generator: Any = component("generators", {"name": "extractive"})
    max_bad_share: float = 0.2
    """Stop if more than this share of a language model's answers cannot be used."""
    resources: Workers = Workers(actors=0)

    def __post_init__(self) -> None:
        _refuse(max_bad_share=_share(self.max_bad_share))


@dataclass(frozen=True)
class Mine:
    """Choose which documents each query is graded against."""

    retrievers: Any = component(
        "retrievers",
        [{"name": "source"}, {"name": "teacher"}, {"name": "random"}],
        many=True,
    )
    resources: Workers = Workers()


@dataclass(frozen=True)
class Label:
    """Score every pair with a teacher."""

    teacher: Any = component("teachers", {"name": "fusion"})
    max_bad_share: float = 0.2
    """Stop if more than this share of a language model's answers cannot be used."""
    resources: Workers = Workers()

    def __post_init__(self) -> None:
        _refuse(max_bad_share=_share(self.max_bad_share))


@dataclass(frozen=True)
class Select:
    """Turn scored pairs into training lists."""

    source_within: int = 0
    """Keep a query only if the teacher ranks its source document this high in its list; 0 keeps all."""
    low: float = 1.0
    """Percentile of the scores that becomes grade 0."""
    high: float = 95.0
    """Percentile of the scores that becomes grade 1."""
    dev_share: float = 0.03
    """Share of source documents whose queries are held out to choose the checkpoint."""

    def __post_init__(self) -> None:
        ordered = 0 <= self.low < self.high <= 100
        _refuse(
            source_within=_at_least(0, self.source_within),
            low="" if ordered else f"must be a percentile below select.high={self.high}, got {self.low}",
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
        _refuse(
            num_workers=_at_least(1, self.num_workers),
            chunk_size=_at_least(1, self.chunk_size),
            checkpoint_every=_at_least(0, self.checkpoint_every),
            threads=_at_least(0, self.threads),
            gpus=_at_least(0, self.gpus),
        )


@dataclass(frozen=True)
class Train:
    """Train the student on the lists."""

    encoder: Any = component("encoders", {"name": "static"})
    loss: Any = component("losses", [{"name": "kl"}, {"name": "infonce", "weight": 0.3}], many=True)
    epochs: int = 4
    batch_size: int = 128
    """Queries an optimizer step, over all workers."""
    learning_rate: float = 5e-3
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
    """Documents of a query's list that a step uses."""
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
        _refuse(
            epochs=_at_least(1, self.epochs),
            batch_size=_at_least(1, self.batch_size),
            learning_rate=_above_zero(self.learning_rate),
            loss_learning_rate="" if self.loss_learning_rate is None else _above_zero(self.loss_learning_rate),
            warmup=_share(self.warmup),
            floor=_share(self.floor),
            weight_decay=_at_least(0, self.weight_decay),
            max_grad_norm=_at_least(0, self.max_grad_norm),
            list_length=_at_least(2, self.list_length),
            max_positives=_at_least(0, self.max_positives),
            dev_docs=_at_least(0, self.dev_docs),
            patience=_at_least(1, self.patience),
        )


@dataclass(frozen=True)
class Encode:
    """Turn texts into vectors."""

    resources: EncodeResources = EncodeResources()


@dataclass(frozen=True)
class Index:
    """Build FAISS shards."""

    factory: str = "Flat"
    """A FAISS factory string."""
    num_shards: int = 1

    def __post_init__(self) -> None:
        _refuse(
            factory="" if self.factory.strip() else "is empty; Flat is exact search",
            num_shards=_at_least(1, self.num_shards),
        )


@dataclass(frozen=True)
class Search:
    """Search the test queries."""

    k: int = 1000
    """Documents a query in a run."""

    def __post_init__(self) -> None:
        _refuse(k=_at_least(1, self.k))


_MEASURES = ("nDCG@10", "Recall@100", "MRR@10", "MAP", "judged@10")


@dataclass(frozen=True)
class Evaluate:
    """Compute measures."""

    measures: tuple[str, ...] = _MEASURES
    """As ir_measures knows them: nDCG, Recall, MRR, MAP, P, judged; @ cuts off, (rel=2) sets what is relevant."""

    def __post_init__(self) -> None:
        if self.measures == _MEASURES:  # known to be right: nothing to import
            return
        from gradret.stages.evaluate import parse_measures

        try:
            parse_measures(self.measures)
        except ConfigError as error:
            raise ConfigError.of([problem.removeprefix("evaluate.") for problem in error.problems]) from None


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
    label: Label = Label()
    select: Select = Select()
    train: Train = Train()
    encode: Encode = Encode()
    index: Index = Index()
    search: Search = Search()
    evaluate: Evaluate = Evaluate()

    def __post_init__(self) -> None:
        plain = re.fullmatch(r"[^/\\\s\x00-\x1f]([^/\\\x00-\x1f]*[^/\\\s\x00-\x1f])?", self.name)
        folder = plain and self.name not in {".", ".."}
        _refuse(
            name="" if folder else f"must be the name of a folder, without slashes, got {self.name!r}",
            storage_path="" if self.storage_path.strip() else "is empty; name a folder",
            seed=_at_least(0, self.seed),
        )


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file and apply ``key=value`` overrides in order.

    Args:
        path: the YAML file.
        overrides: such as ``train.loss[1].weight=0.2`` or ``dataset.name=beir``.

    Raises:
        ConfigError: the file cannot be read, or keys or values are wrong; all are named.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    tree = OmegaConf.create(_with_defaults(Config, _read(path)))
    problems = [problem for override in overrides for problem in _apply(tree, override)]
    try:
        plain = OmegaConf.to_container(tree, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError.of([*problems, f"{path}: {str(error).splitlines()[0]}"]) from error
    return _parse(plain, problems)


def parse(tree: object) -> Config:
    """A config from plain mappings.

    Raises:
        ConfigError: keys or values are wrong; all are named.
    """
    return _parse(tree, [])


def _parse(tree: object, problems: list[str]) -> Config:
    config = _build(Config, tree, "", problems)
    if problems:
        raise ConfigError.of(problems)
    return typing.cast("Config", config)


def _read(path: str | Path) -> dict[str, Any]:
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        tree = OmegaConf.load(path)
    except FileNotFoundError:
        raise ConfigError(f"no config file at {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(tree, DictConfig):
        raise ConfigError(f"{path} is not a mapping of keys such as name: and dataset:")
    return typing.cast("dict[str, Any]", OmegaConf.to_container(tree, resolve=False))


def _with_defaults(cls: type, node: Any) -> Any:
    """``node`` with all defaults of ``cls`` written out, so that an override can name a part of one."""
    if not isinstance(node, Mapping):
        return node
    hints = typing.get_type_hints(cls)
    filled = dict(node)
    for f in fields(cls):
        given = node.get(f.name)
        if "kind" in f.metadata:
            if given is None and f.metadata["default"] is not MISSING:
                filled[f.name] = copy.deepcopy(f.metadata["default"])
        elif is_dataclass(hints[f.name]):
            filled[f.name] = _with_defaults(typing.cast("type", hints[f.name]), {} if given is None else given)
    return filled


def _apply(tree: Any, override: str) -> list[str]:
    """Set one ``key=value`` in the tree; returns what is wrong with it."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    key, equals, value = override.partition("=")
    parts = key.replace("[", ".").replace("]", "").split(".")
    if not equals or not all(part and part == part.strip() for part in parts):
        return [f"{override!r}: expected key=value, such as train.loss[1].weight=0.2"]
    try:
        new = OmegaConf.from_dotlist([f"value={value}"]).value
        whole = isinstance(new, Mapping) and "name" in new  # a component is replaced, other mappings are merged
        OmegaConf.update(tree, key, new, merge=not whole)
    except (OmegaConfBaseException, YAMLError, ValueError, TypeError, IndexError) as error:
        return [f"{override!r}: {str(error).splitlines()[0]}"]
    return []


def to_yaml(config: Config) -> str:
    """The resolved config, every default written out; ``load`` reads it back to an equal one."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.create(_plain(config)))


def _plain(value: object, *, named: bool = False) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        head = {"name": components.name_of(value)} if named else {}
        return head | {f.name: _plain(getattr(value, f.name), named="kind" in f.metadata) for f in fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item, named=named) for item in value]
    return value


def _build(cls: type, node: object, where: str, problems: list[str]) -> object | None:
    """An instance of dataclass ``cls`` from a mapping; None, and problems, where there cannot be one."""
    if node is None:
        node = {}
    if not isinstance(node, Mapping):
        problems.append(f"{where or 'config'}: expected a mapping of keys, got {node!r}")
        return None
    known = {f.name: f for f in fields(cls)}
    problems += [
        f"{_join(where, str(key))}: {components.unknown(str(key), list(known), 'a key here')}"
        for key in node
        if key not in known
    ]
    hints = typing.get_type_hints(cls)
    values, broken = {}, set()
    for name, f in known.items():
        before = len(problems)
        value = _value(f, hints[name], node.get(name, MISSING), _join(where, name), problems)
        if len(problems) > before:
            broken.add(name)
        elif value is not MISSING:
            values[name] = value
    # Made also where something is broken: the rest may be out of range, and all is to be said at once.
    required = {name for name in broken if known[name].default is MISSING}
    if any("kind" not in known[name].metadata for name in required):
        return None
    values |= dict.fromkeys(required)
    try:
        built = typing.cast("object", cls(**values))
    except ValueError as error:
        for problem in getattr(error, "problems", None) or [str(error)]:
            head = re.match(r"\w*", problem)[0]  # type: ignore[index]
            if head not in broken:
                problems.append(_join(where, problem) if head in known else f"{where or 'config'}: {problem}")
        return None
    return built


def _value(f: dataclasses.Field[Any], hint: Any, node: object, where: str, problems: list[str]) -> object:
    """The value of one field; MISSING leaves it to the dataclass's default."""
    if "kind" in f.metadata:
        default = f.metadata["default"]
        node = default if node is MISSING or node is None else node
        if node is MISSING:
            problems.append(f"{where}: is required, for example {where}.name=...")
            return MISSING
        if isinstance(node, Mapping) and "name" not in node and isinstance(default, Mapping):
            node = {**default, **node}
        build = _components if f.metadata["many"] else _component
        return None if node is None else build(f.metadata["kind"], node, where, problems)
    if is_dataclass(hint):
        return _build(typing.cast("type", hint), {} if node is MISSING else node, where, problems)
    if node is MISSING:
        if f.default is MISSING and f.default_factory is MISSING:
            problems.append(f"{where}: is required")
        return MISSING
    return _leaf(hint, node, where, problems)


def _components(kind: str, node: object, where: str, problems: list[str]) -> object:
    if not isinstance(node, Sequence) or isinstance(node, str) or not node:
        problems.append(f"{where}: expected a list of components such as [{{name: ...}}], got {node!r}")
        return MISSING
    return tuple(_component(kind, item, f"{where}[{number}]", problems) for number, item in enumerate(node))


def _component(kind: str, node: object, where: str, problems: list[str]) -> object:
    if isinstance(node, str):
        node = {"name": node}
    if not isinstance(node, Mapping) or not isinstance(node.get("name"), str):
        problems.append(f"{where}: expected {{name: ...}} with the name of one of the {kind}, got {node!r}")
        return MISSING
    try:
        cls = components.find(kind, node["name"])
    except ConfigError as error:
        problems.append(f"{where}.name: {error}")
        return MISSING
    return _build(cls, {key: value for key, value in node.items() if key != "name"}, where, problems)


def _leaf(hint: Any, node: object, where: str, problems: list[str]) -> object:
    """A plain value, converted and checked by OmegaConf as a structured config would."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    holder = OmegaConf.structured(make_dataclass("Holder", [("value", hint)]))
    try:
        OmegaConf.update(holder, "value", node)
        value = OmegaConf.to_container(holder)["value"]  # type: ignore[index, call-overload]
    except (OmegaConfBaseException, ValueError, TypeError):
        problems.append(f"{where}: expected {_type_name(hint)}, got {node!r}")
        return MISSING
    if isinstance(value, float) and not math.isfinite(value):
        problems.append(f"{where}: expected a finite number, got {node!r}")
        return MISSING
    return tuple(value) if isinstance(value, list) else value


def _type_name(hint: Any) -> str:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return hint.__name__
    return str(hint).replace("typing.", "")


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
