"""Candidates from a run file against its own lines."""

import pytest

from gradret.config.run import Config
from gradret.datasets.pydocs import Pydocs
from gradret.errors import DataError
from gradret.retrievers.run_file import RunFile
from tests.stages import tiny

pytestmark = pytest.mark.usefixtures("ray_session")
LINES = [
    "q000 Q0 d001 1 3 t",
    "q000 Q0 d000 1 5 t",
    "q000 Q0 elsewhere 1 9 t",
    "q002 Q0 d004 1 1 t",
    "q009 Q0 d002 1 1 t",
]


@pytest.fixture
def candidates(tmp_path):
    """Returns the candidates of three queries; document 4 is a copy of document 3."""
    texts = ["wing", "plate", "shell", "a thin shell buckles", "a thin shell buckles"]
    ingested = tiny.artifact(
        tmp_path, "ingest", {"docs": [[tiny.doc(n, text) for n, text in enumerate(texts)]]}, rows_out=5
    )
    queries = [tiny.query(n, "about it") for n in range(3)]
    generated = tiny.artifact(tmp_path, "generate", {"queries": [queries]})
    config = Config(name="toy", dataset=Pydocs(), storage_path=str(tmp_path))

    def find(lines, **keys):
        path = tmp_path / "given.res"
        path.write_text("\n".join(lines))
        retriever = RunFile(path=str(path), **keys)
        prepared = retriever.prepare(config, ingested, generated)
        return retriever.load(prepared, 0)(queries), prepared["run"].counts

    return find


def test_the_files_documents_by_score_without_strangers_and_copies(candidates):
    found, counts = candidates(LINES)
    assert found == [[("d000", 1), ("d001", 2)], [], []]
    assert (counts["rows_in"], counts["rows_out"], counts["unknown_docs"]) == (5, 4, 1)
    assert candidates(LINES, k=1)[0][0] == [("d000", 1)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("q000 Q0 elsewhere 1 9 t", r"none of its 1 documents \(such as elsewhere\) is in the corpus"),
        ("q009 Q0 d001 1 9 t", r"none of its 1 queries \(such as q009\) is trained on"),
    ],
)
def test_a_file_of_another_dataset_is_refused(candidates, line, said):
    with pytest.raises(DataError, match=said):
        candidates([line])


def test_a_missing_file_is_told(tmp_path, candidates):
    with pytest.raises(DataError, match=r"nowhere cannot be read: No such file"):
        RunFile(path="nowhere").prepare(Config(name="toy", dataset=Pydocs(), storage_path=str(tmp_path)), None, None)
