"""A BEIR dataset by name: download, verify and unpack its archive once."""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradret.components import unknown
from gradret.config.fields import expand_home
from gradret.datasets import Bad, Part, Row, _formats, check_language, place
from gradret.datasets._download import download
from gradret.datasets._rows import Columns
from gradret.datasets.beir import Beir
from gradret.errors import ConfigError, DataError, StorageError

__all__ = ["BeirArchive"]

# MD5 of the archives from BEIR's README; ir_datasets 0.6.3 has the same.
_MD5 = {
    "arguana": "8ad3e3c2a5867cdced806d6503f29b99",
    "climate-fever": "8b66f0a9126c521bae2bde127b4dc99d",
    "cqadupstack": "4e41456d7df8ee7760a7f866133bda78",
    "dbpedia-entity": "c2a39eb420a3164af735795df012ac2c",
    "fever": "5a818580227bfb4b35bb6fa46d9b6c03",
    "fiqa": "17918ed23cd04fb15047f73e6c3bd9d9",
    "hotpotqa": "f412724f78b0d91183a0e86805e16114",
    "msmarco": "444067daf65d982533ea17ebd59501e4",
    "nfcorpus": "a89dba18a62ef92f7d323ec890a0d38d",
    "nq": "d4d3d2e48787a744b6f6e691ff534307",
    "quora": "18fb154900ba42a600f84b839c173167",
    "scidocs": "38121350fc3a4d2f48850f6aff52e4a9",
    "scifact": "5f7d1de60b170fc8027bb7898e2efca1",
    "trec-covid": "ce62140cb23feb9becf6270d0d1fe6d1",
    "webis-touche2020": "46f650ba5a527fc69e0a6521c5a23563",
}
_PARTS = {
    "cqadupstack": (
        "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
        "webmasters", "wordpress",
    )
}  # fmt: skip
# Datasets whose queries are documents of the corpus.
_SAME_IDS = {"arguana", "quora"}


@dataclass(frozen=True)
class BeirArchive:
    """A BEIR dataset by name, from the archives that its authors publish.

    The first use downloads the archive into ``path``, checks its MD5 and unpacks it there; an interrupted
    download is resumed. Without a network, copy the archive or its unpacked folder there. In ArguAna and
    Quora, a document with the query's id is removed from the query's results. ``msmarco`` is usually
    evaluated on ``split: dev``.

    Source: Thakur et al., BEIR (NeurIPS 2021). The checksums are from BEIR's README; we did not download
    the archives to verify them.
    """

    archive: str = place()
    """Name of the dataset: ``scifact``, ``fiqa``, ..., or a part of CQADupStack: ``cqadupstack/android``."""
    path: str = place("~/.cache/gradret/beir")
    """Folder for archives and unpacked datasets; on a cluster, shared by all nodes."""
    url: str = place("https://public.ukp.informatik.tu-darmstadt.de/thakur/BEIR/datasets")
    """Base URL of the archives."""
    md5: str = place()
    """Expected MD5 of the archive; empty uses BEIR's published value."""
    split: str = "test"
    """Judgments to evaluate on."""
    language: str = "english"
    """A Snowball stemmer's name, or ``none``."""

    def __post_init__(self) -> None:
        name, _, part = self.archive.partition("/")
        if name not in _MD5:
            raise ConfigError(f"archive: {unknown(name, list(_MD5), 'a published BEIR dataset')}")
        if part not in _PARTS.get(name, ("",)):
            parts = ", ".join(f"{name}/{each}" for each in _PARTS.get(name, ())) or name
            raise ConfigError(f"archive: {self.archive!r} is not one of {parts}")
        if not re.match("https?://", self.url):
            raise ConfigError(f"url: must begin with http:// or https://, got {self.url!r}")
        check_language(self.language)

    @property
    def exclude_same_ids(self) -> bool:
        return self.archive in _SAME_IDS

    def content(self, table: str) -> str:
        return self._set().content(table)

    def parts(self, table: str) -> list[Part]:
        return self._set().parts(table)

    def read(self, table: str, part: Part) -> Iterator[tuple[int, Row | Bad]]:
        yield from _formats.read(table, part, Columns())

    def _set(self) -> Beir:
        """Return the dataset in its unpacked folder, downloading and unpacking it if needed."""
        folder = Path(expand_home(self.path)).absolute()
        name = self.archive.partition("/")[0]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / name).is_dir():
                self._unpack(folder, name)
        except OSError as error:
            raise StorageError(f"dataset.path: cannot write to {folder}: {error.strerror or error}") from error
        return Beir(path=str(folder / self.archive), split=self.split, language=self.language)

    def _unpack(self, folder: Path, name: str) -> None:
        with (folder / f".{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (folder / name).is_dir():  # another run unpacked it meanwhile
                return
            archive = folder / f"{name}.zip"
            if not archive.is_file():
                download(f"{self.url}/{name}.zip", archive)
            _check(archive, self.md5 or _MD5[name])
            _extract(archive, folder / name)


def _check(archive: Path, md5: str) -> None:
    with archive.open("rb") as file:
        actual = hashlib.file_digest(file, "md5").hexdigest()
    if actual != md5:
        raise DataError(
            f"{archive}: expected MD5 {md5}, got {actual}: damaged, or another version. Delete it and run again, "
            "or set dataset.md5 to use this version"
        )


def _extract(archive: Path, folder: Path) -> None:
    """Unpack the archive's only folder, completely or not at all; zipfile never writes outside the target."""
    draft = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(draft, ignore_errors=True)  # left by a killed run
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(draft)
        if not (draft / folder.name).is_dir():
            raise DataError(f"{archive}: no folder {folder.name} in the archive")
        (draft / folder.name).replace(folder)
    except zipfile.BadZipFile as error:
        raise DataError(f"{archive}: not a valid zip archive: {error}; delete it and run again") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
