import numpy as np
import pyarrow as pa

from gradret.search.vectors import as_matrix, read_vectors
from gradret.store import contracts
from gradret.store.artifacts import Artifact, write_shard


def rows(numbers):
    vectors = [[float(number), -number, 0.5] for number in numbers]
    return pa.Table.from_pylist(
        [{"id": f"{number:03d}", "vector": vector} for number, vector in zip(numbers, vectors, strict=True)],
        contracts.schema("vectors"),
    )


def test_as_matrix_reads_whole_tables_slices_and_several_chunks():
    whole = rows(range(10))
    np.testing.assert_array_equal(as_matrix(whole)[:, 0], np.arange(10))
    np.testing.assert_array_equal(as_matrix(whole.slice(3, 4))[:, 0], np.arange(3, 7))
    joined = pa.concat_tables([whole.slice(8, 2), whole.slice(0, 0), whole.slice(1, 2)])
    np.testing.assert_array_equal(as_matrix(joined), [[8, -8, 0.5], [9, -9, 0.5], [1, -1, 0.5], [2, -2, 0.5]])
    assert as_matrix(joined).dtype == np.float32
    assert as_matrix(whole.slice(0, 0)).shape[0] == 0


def test_read_vectors_sorts_by_id(tmp_path):
    for number, part in enumerate(([5, 3], [4, 1, 2])):
        write_shard(tmp_path / "vectors" / f"part-{number:05d}.parquet", rows(part), "vectors")
    ids, matrix = read_vectors(Artifact("encode", "0", tmp_path, {}))
    assert ids == ["001", "002", "003", "004", "005"]
    np.testing.assert_array_equal(matrix[:, 0], [1, 2, 3, 4, 5])
    assert read_vectors(Artifact("encode", "0", tmp_path / "none", {}))[0] == []
