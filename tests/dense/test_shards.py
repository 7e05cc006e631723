"""Exact search is exact: any number of shards gives the run that brute force gives."""

import subprocess

import faiss
import numpy as np
import pytest

from gradret.dense.shards import MARGIN, Shard, write_shard_files
from gradret.dense.topk import ordered
from gradret.errors import StorageError

SIZE, DIMENSION = 900, 24


def collection(kind):
    """Vectors and queries; ``ties`` is mostly copies of a few vectors, far more than the margin."""
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((SIZE, DIMENSION)).astype(np.float32)
    queries = draw.standard_normal((20, DIMENSION)).astype(np.float32)
    if kind == "ties":
        vectors = vectors[draw.integers(0, 5, SIZE)]
    if kind == "duplicates":
        vectors[::3] = vectors[0]
        queries[:5] = vectors[0]
    if kind == "coarse":
        vectors, queries = np.sign(vectors), np.sign(queries)
    if kind == "long":
        vectors *= (1000 * draw.random((SIZE, 1)) ** 4).astype(np.float32)
    if kind == "zeros":
        vectors[::2] = 0
        queries[0] = 0
    ids = [f"d{number}" for number in draw.permutation(SIZE)]
    return vectors, ids, queries


def write(folder, vectors, ids, shards, factory="Flat"):
    empty = faiss.index_factory(DIMENSION, factory, faiss.METRIC_INNER_PRODUCT)
    if not empty.is_trained:
        empty.train(vectors)
    bounds = [len(ids) * number // shards for number in range(shards + 1)]
    for number in range(shards):
        part = slice(bounds[number], bounds[number + 1])
        index = faiss.clone_index(empty)
        index.add(vectors[part])
        write_shard_files(folder, number, index, ids[part], vectors[part])
    return [Shard(folder, number) for number in range(shards)]


def merged(shards, queries, k):
    """The run: for each query ids and float32 scores, in order."""
    found = [shard.search(queries, k) for shard in shards]
    run = []
    for query in range(len(queries)):
        ids = [doc_id for part, _ in found for doc_id in part[query]]
        scores = np.concatenate([part[query] for _, part in found])
        best = ordered(scores, ids, k)
        run.append([(ids[place], scores[place].tobytes()) for place in best])
    return run


def brute_force(vectors, ids, queries, k):
    scores = (queries.astype(np.float64)[:, None, :] * vectors.astype(np.float64)[None]).sum(2).astype(np.float32)
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__, reverse=True))
    places = [by_id[np.argsort(-row[by_id], kind="stable")][:k] for row in scores]
    return [[(ids[n], row[n].tobytes()) for n in best] for row, best in zip(scores, places, strict=True)]


@pytest.mark.parametrize("kind", ["plain", "ties", "duplicates", "coarse", "long", "zeros"])
def test_any_number_of_shards_gives_the_run_of_brute_force(tmp_path, kind):
    vectors, ids, queries = collection(kind)
    want = {k: brute_force(vectors, ids, queries, k) for k in (1, 10, SIZE + 50)}
    for number in (1, 2, 4, 8):
        shards = write(tmp_path / str(number), vectors, ids, number)
        for k, run in want.items():
            assert merged(shards, queries, k) == run, (number, k)


def test_a_query_gets_the_same_alone_and_among_others(tmp_path):
    vectors, ids, queries = collection("plain")
    shards = write(tmp_path, vectors, ids, 2)
    assert [merged(shards, queries[n : n + 1], 10)[0] for n in range(20)] == merged(shards, queries, 10)


def test_what_cannot_tie_is_not_fetched(tmp_path):
    vectors, ids, queries = collection("plain")
    (shard,) = write(tmp_path, vectors, ids, 1)
    found, _ = shard.search(queries, 10)
    assert {len(part) for part in found} == {10 + MARGIN}


@pytest.mark.parametrize("factory", ["IVF4,Flat", "HNSW16", "SQ8", "PCA8,Flat", "PQ4x4"])
def test_other_types_give_exact_scores_of_what_they_find(tmp_path, factory):
    vectors, ids, queries = collection("plain")
    place = {doc_id: number for number, doc_id in enumerate(ids)}
    run = merged(write(tmp_path, vectors, ids, 2, factory), queries, 10)
    for query, found in zip(queries.astype(np.float64), run, strict=True):
        assert 0 < len(found) <= 10
        for doc_id, score in found:
            assert score == np.float32((vectors[place[doc_id]].astype(np.float64) * query).sum()).tobytes()


@pytest.mark.parametrize("factory", ["Flat", "HNSW16"])
def test_more_shards_than_documents(tmp_path, factory):
    vectors, ids, queries = collection("plain")
    shards = write(tmp_path, vectors[:5], ids[:5], 8, factory)
    assert merged(shards, queries, 3) == brute_force(vectors[:5], ids[:5], queries, 3)


def test_an_empty_shard_of_a_trained_type_finds_nothing(tmp_path):
    vectors, _, queries = collection("plain")
    empty = faiss.index_factory(DIMENSION, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
    empty.train(vectors)
    write_shard_files(tmp_path, 0, empty, [], vectors[:0])
    assert Shard(tmp_path, 0).search(queries, 3)[0] == [[]] * 20


def test_no_queries(tmp_path):
    vectors, ids, _ = collection("plain")
    (shard,) = write(tmp_path, vectors, ids, 1)
    assert shard.search(vectors[:0], 3) == ([], [])


@pytest.mark.parametrize("ending", ["faiss", "npy", "ids.json"])
def test_a_damaged_file_is_named(tmp_path, ending):
    vectors, ids, _ = collection("plain")
    write(tmp_path, vectors, ids, 2)
    path = tmp_path / f"00001.{ending}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StorageError, match=rf"00001\.{ending} is damaged"):
        Shard(tmp_path, 1)
    path.write_bytes(content[:100])
    with pytest.raises(StorageError, match=rf"00001\.{ending} is damaged"):
        Shard(tmp_path, 1)
    path.unlink()
    with pytest.raises(StorageError, match=rf"00001\.{ending} is missing"):
        Shard(tmp_path, 1)
    Shard(tmp_path, 0)


def test_damaged_or_missing_checksums(tmp_path):
    vectors, ids, _ = collection("plain")
    write(tmp_path, vectors, ids, 1)
    sums = tmp_path / "00000.sha256"
    # What we write, sha256sum reads.
    subprocess.run(["sha256sum", "--check", "--status", sums.name], cwd=tmp_path, check=True)
    sums.write_bytes(b"\xff\x00")
    with pytest.raises(StorageError, match="damaged"):
        Shard(tmp_path, 0)
    sums.unlink()
    with pytest.raises(StorageError, match=r"00000\.sha256 is missing"):
        Shard(tmp_path, 0)
