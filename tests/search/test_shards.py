"""Exact search is exact: any number of shards gives the run that brute force gives."""

import subprocess

import faiss
import numpy as np
import pytest

from gradret.errors import ConfigError, DamagedError, StorageError
from gradret.search.runs import run_table
from gradret.search.shard_files import is_intact, write_shard_files
from gradret.search.shards import MARGIN, Shard, Shards, merge_candidates

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


def trained(vectors, factory):
    empty = faiss.index_factory(DIMENSION, factory, faiss.METRIC_INNER_PRODUCT)
    if not empty.is_trained:
        empty.train(vectors)
    return empty


def write(folder, vectors, ids, shards, factory="Flat", parameters=""):
    """Written in batches of 70; opened by holders of up to three shards each."""
    empty = None if factory == "Flat" else trained(vectors, factory)
    bounds = [len(ids) * number // shards for number in range(shards + 1)]
    for number in range(shards):
        starts = range(bounds[number], bounds[number + 1], 70)
        parts = [slice(start, min(start + 70, bounds[number + 1])) for start in starts]
        batches = [(ids[part], vectors[part]) for part in parts]
        shape = (bounds[number + 1] - bounds[number], DIMENSION)
        write_shard_files(folder / "shards", number, batches, shape, empty and faiss.clone_index(empty))
    holders = [range(first, min(first + 3, shards)) for first in range(0, shards, 3)]
    return [Shards(folder / "shards", numbers, parameters, 10) for numbers in holders]


def merged(holders, queries, k, exact=False):
    """The run: for each query ids and float32 scores, in order."""
    found = [holder.search(queries, k, exact=exact) for holder in holders]
    chosen = merge_candidates(found, k, exact=exact or all(holder.exact for holder in holders))
    candidates = [([], []) for _ in queries]
    for holder, (rows, places) in zip(holders, chosen, strict=True):
        scores, doc_ids = holder.score(queries, rows, places)
        for row, score, doc_id in zip(rows, scores, doc_ids.to_pylist(), strict=True):
            candidates[row][0].append(doc_id)
            candidates[row][1].append(score)
    query_ids = [f"{n:03d}" for n in range(len(queries))]
    table = run_table(query_ids, [(ids, np.array(scores, np.float32)) for ids, scores in candidates], k)
    run = [[] for _ in queries]
    for row in table.to_pylist():
        run[int(row["query_id"])].append((row["doc_id"], np.float32(row["score"]).tobytes()))
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
    (holder,) = write(tmp_path, vectors, ids, 1)
    found = holder.search(queries, 10)
    assert found.places.shape == (20, 10 + MARGIN)
    # What is sent back to be scored is what the k-th, and rounding, leave.
    ((rows, _),) = merge_candidates([found], 10, exact=True)
    assert set(np.bincount(rows)) == {10}


@pytest.mark.parametrize("kind", ["plain", "ties", "zeros"])
def test_a_lossy_index_can_be_searched_exactly(tmp_path, kind):
    vectors, ids, queries = collection(kind)
    holders = write(tmp_path, vectors, ids, 4, "PQ4x4")
    assert merged(holders, queries, 10, exact=True) == brute_force(vectors, ids, queries, 10)


@pytest.mark.parametrize("factory", ["IVF4,Flat", "HNSW16", "SQ8", "PCA8,Flat", "PQ4x4", "PCA8,IVF4,SQ8"])
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
    write_shard_files(tmp_path / "shards", 0, [], (0, DIMENSION), trained(vectors, "IVF4,Flat"))
    assert Shard(tmp_path / "shards", 0).search(queries, 3).places.shape == (20, 0)


def test_no_queries(tmp_path):
    vectors, ids, _ = collection("plain")
    assert merged(write(tmp_path, vectors, ids, 2), vectors[:0], 3) == []


@pytest.mark.parametrize("ending", ["faiss", "npy", "ids.arrow"])
def test_a_damaged_file_is_named_with_its_index(tmp_path, ending):
    vectors, ids, _ = collection("plain")
    write(tmp_path, vectors, ids, 2, "SQ8")
    folder = tmp_path / "shards"
    path = folder / f"00001.{ending}"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    for harm, what in [
        (lambda: path.write_bytes(content), "damaged"),
        (lambda: path.write_bytes(content[:100]), "damaged"),
        (path.unlink, "missing"),
    ]:
        harm()
        with pytest.raises(DamagedError, match=rf"00001\.{ending} is {what}.*run the command that made it") as caught:
            Shard(folder, 1)
        assert caught.value.artifact == tmp_path
        assert not is_intact(folder, 1)
    Shard(folder, 0)
    assert is_intact(folder, 0)


def test_a_shard_of_another_index_is_foreign(tmp_path):
    vectors, ids, _ = collection("plain")
    write(tmp_path / "mine", vectors, ids, 2)
    write(tmp_path / "theirs", vectors[::-1], ids, 2)
    for path in (tmp_path / "theirs" / "shards").glob("00001.*"):
        path.rename(tmp_path / "mine" / "shards" / path.name)
    with pytest.raises(StorageError, match=r"00001\.ids\.arrow belongs to shard 1 of index theirs"):
        Shard(tmp_path / "mine" / "shards", 1)
    for path in list((tmp_path / "mine" / "shards").glob("00000.*")):
        path.rename(path.with_name(path.name.replace("00000", "00001")))
    with pytest.raises(StorageError, match=r"damaged|missing"):  # its checksums name its files
        Shard(tmp_path / "mine" / "shards", 1)


def test_a_shard_that_was_half_written_is_not_whole(tmp_path):
    vectors, ids, _ = collection("plain")
    write(tmp_path, vectors, ids, 1)

    def batches():
        yield ids[:70], vectors[:70]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard_files(tmp_path / "shards", 0, batches(), (SIZE, DIMENSION))
    assert not is_intact(tmp_path / "shards", 0)


def test_a_full_disk_says_so(tiny):
    folder, enlarge = tiny
    vectors, ids, _ = collection("plain")
    for factory in (None, "SQ4"):
        with pytest.raises(OSError, match="No space left"):
            write_shard_files(
                folder / "shards", 0, [(ids, vectors)], vectors.shape, factory and trained(vectors, factory)
            )
        assert not is_intact(folder / "shards", 0)
    enlarge()
    write_shard_files(folder / "shards", 0, [(ids, vectors)], vectors.shape)
    assert is_intact(folder / "shards", 0)


@pytest.mark.parametrize("factory", ["IVF4,SQ8", "PQ4x4", "PCA8,IVF4,PQ4x4", "HNSW16"])
def test_what_is_found_does_not_depend_on_who_holds_which_shards(tmp_path, factory):
    """With all lists searched; FAISS merges the shards of a holder, but not those of a graph."""
    vectors, ids, queries = collection("plain")
    parameters = "nprobe=4" if "IVF" in factory else ""
    write(tmp_path, vectors, ids, 4, factory)
    together = Shards(tmp_path / "shards", range(4), parameters, 10)
    apart = [Shards(tmp_path / "shards", [number], parameters, 10) for number in range(4)]
    assert (together.merged is None) == (factory == "HNSW16")
    assert merged([together], queries, 10) == merged(apart, queries, 10)


def test_search_parameters(tmp_path):
    """All lists searched, IVF finds what brute force finds; and the default is more than FAISS's one list."""
    vectors, ids, queries = collection("plain")
    want = [[doc_id for doc_id, _ in run] for run in brute_force(vectors, ids, queries, 10)]

    def recall(parameters):
        holders = write(tmp_path, vectors, ids, 2, "IVF16,Flat", parameters)
        found = merged(holders, queries, 10)
        return np.mean([len({doc_id for doc_id, _ in a} & set(b)) / 10 for a, b in zip(found, want, strict=True)])

    assert recall("nprobe=16") == 1
    assert recall("nprobe=1") < recall("") < 1
    assert Shard(tmp_path / "shards", 0).parameters == "nprobe=8"
    with pytest.raises(ConfigError, match=r"search\.parameters=efSearch=8: IndexIVFFlat"):
        recall("efSearch=8")
    with pytest.raises(ConfigError, match="Flat has no search parameters"):
        write(tmp_path / "flat", vectors, ids, 1, parameters="nprobe=3")


def test_damaged_or_missing_checksums(tmp_path):
    vectors, ids, _ = collection("plain")
    write(tmp_path, vectors, ids, 1)
    sums = tmp_path / "shards" / "00000.sha256"
    # What we write, sha256sum reads.
    subprocess.run(["sha256sum", "--check", "--status", sums.name], cwd=sums.parent, check=True)
    sums.write_bytes(b"\xff\x00")
    with pytest.raises(StorageError, match="damaged"):
        Shard(sums.parent, 0)
    sums.unlink()
    with pytest.raises(StorageError, match=r"00000\.sha256 is missing"):
        Shard(sums.parent, 0)
