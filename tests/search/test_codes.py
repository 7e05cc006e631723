"""Vectors in fewer bits, against FAISS, sentence-transformers and numpy; their search, for any number of shards."""

import faiss
import numpy as np
import pytest
from sentence_transformers.util import quantize_embeddings

from gradret.errors import DamagedError
from gradret.search.codes import OVERSAMPLE, Codec, CodedVectors, cut, fit
from gradret.search.runs import ranked
from gradret.search.shard_files import shard_file, write_shard_files
from gradret.search.shards import MARGIN, Shards, merge_candidates

SIZE, DIMENSION, QUERIES = 500, 20, 8


def collection(kind="plain"):
    """Vectors off the origin, and queries; a dimension is constant. ``ties`` has more equal codes than the margin."""
    draw = np.random.default_rng(0)
    vectors = (draw.standard_normal((SIZE, DIMENSION)) + draw.standard_normal(DIMENSION)).astype(np.float32)
    if kind == "ties":
        vectors = vectors[draw.integers(0, 4, SIZE)]
    vectors[:, 7] = 0.25
    queries = draw.standard_normal((QUERIES, DIMENSION)).astype(np.float32)
    return vectors, [f"d{number}" for number in draw.permutation(SIZE)], queries


def test_int8_is_faiss_sq8():
    """Codes and what they stand for, also of vectors outside the sample's range."""
    vectors, _, queries = collection()
    theirs = faiss.ScalarQuantizer(DIMENSION, faiss.ScalarQuantizer.QT_8bit)
    theirs.train(vectors)
    for rows in (vectors, 10 * queries):
        codec = fit("int8", vectors)
        mine, want = codec.encode(rows), theirs.compute_codes(rows)
        varied = np.arange(DIMENSION) != 7  # of a constant dimension FAISS leaves the code open
        np.testing.assert_array_equal(mine[:, varied].astype(int) + 128, want[:, varied])
        np.testing.assert_allclose(codec.decode(mine), theirs.decode(want), atol=1e-5)


def test_int8_is_as_near_as_half_a_step():
    vectors, _, _ = collection()
    codec = fit("int8", vectors)
    error = np.abs(codec.decode(codec.encode(vectors)) - vectors)
    assert (error <= (vectors.max(0) - vectors.min(0)) / 255 / 2 + 1e-6).all()


def test_int8_agrees_with_sentence_transformers_where_its_codes_do_not_round_to_zero():
    """Its steps below the middle are rounded up, its steps above it down."""
    vectors, _, _ = collection()
    varied = np.arange(DIMENSION) != 7
    want = quantize_embeddings(vectors[:, varied], "int8", calibration_embeddings=vectors[:, varied]).astype(int)
    mine = fit("int8", vectors[:, varied]).encode(vectors[:, varied]).astype(int)
    assert np.abs(mine - want)[want > 0].max() <= 1  # a number on a step's border
    assert (mine == want)[want > 0].mean() > 0.99
    assert set(np.unique((mine - want)[want < 0])) <= {-1, 0}


def test_binary_is_that_of_sentence_transformers_after_the_mean_is_subtracted():
    vectors, _, _ = collection()
    for dimension in (8, 16, 20):
        rows = vectors[:, :dimension]
        codec = fit("binary", rows)
        bits = codec.encode(rows)
        centred = rows - codec.scales[0]
        if dimension % 8 == 0:
            np.testing.assert_array_equal(bits, quantize_embeddings(centred, "ubinary"))
        np.testing.assert_allclose(codec.decode(bits), np.where(centred > 0, 1, -1) / np.sqrt(dimension), rtol=1e-6)
        assert bits.shape == (SIZE, codec.width) == (SIZE, -(-dimension // 8))


def test_hamming_distances_are_numpys():
    vectors, _, queries = collection("ties")
    codec = fit("binary", vectors)
    coded = CodedVectors(codec.encode(vectors), codec.scales)
    scores, places = coded.nearest_bits(queries, 10)
    distances = ((queries[:, None] > codec.scales[0]) != (vectors[None] > codec.scales[0])).sum(axis=2)
    for row, all_of in enumerate(distances):
        near = np.flatnonzero(all_of <= np.sort(all_of)[9])
        found = places[row] >= 0
        assert sorted(places[row][found]) == near.tolist()
        np.testing.assert_array_equal(-scores[row][found], all_of[places[row][found]])


def test_nearest_is_that_of_a_flat_index_of_what_the_codes_stand_for(monkeypatch):
    monkeypatch.setattr("gradret.search.codes._BLOCK", 70 * DIMENSION)  # the last block is smaller than k
    vectors, _, queries = collection()
    codec = fit("int8", vectors)
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(codec.decode(codec.encode(vectors)))
    scores, places = CodedVectors(codec.encode(vectors), codec.scales).nearest(queries, 80)
    want, at = flat.search(queries, 80)
    np.testing.assert_allclose(scores, want, rtol=1e-4, atol=1e-5)
    assert (places == at).mean() > 0.99


def test_a_cut_is_scaled_to_length_1_or_not():
    vectors, _, _ = collection()
    short = cut(vectors, 5, normalize=True)
    np.testing.assert_allclose(short, vectors[:, :5] / np.linalg.norm(vectors[:, :5], axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(cut(vectors, 5, normalize=False), vectors[:, :5])
    assert cut(vectors, DIMENSION, normalize=True) is vectors
    assert not cut(np.zeros((2, 9), np.float32), 5, normalize=True).any()


def write(folder, vectors, ids, shards, codec):
    """Opened by holders of up to three shards each."""
    bounds = [len(ids) * number // shards for number in range(shards + 1)]
    for number in range(shards):
        rows = slice(bounds[number], bounds[number + 1])
        batches = [(ids[rows], vectors[rows])]
        write_shard_files(folder / "shards", number, batches, (len(ids[rows]), DIMENSION), codec=codec)
    holders = [range(first, min(first + 3, shards)) for first in range(0, shards, 3)]
    return [Shards(folder / "shards", numbers) for numbers in holders]


def merged(holders, queries, k, exact=False):
    """For each query ids and float32 scores, in order."""
    import pyarrow as pa

    found = [holder.search(queries, k, exact=exact) for holder in holders]
    chosen = merge_candidates(found, k, exact=exact or all(holder.exact for holder in holders))
    scored = [holder.score(queries, *pairs) for holder, pairs in zip(holders, chosen, strict=True)]
    rows = np.concatenate([pairs[0] for pairs in chosen])
    scores, doc_ids = np.concatenate([part[0] for part in scored]), pa.concat_arrays([part[1] for part in scored])
    query_ids = pa.array([f"{number:03d}" for number in range(len(queries))])
    run = [[] for _ in queries]
    for row in ranked(query_ids, rows, scores, doc_ids, k, exclude_same_ids=False).to_pylist():
        run[int(row["query_id"])].append((row["doc_id"], np.float32(row["score"]).tobytes()))
    return run


def brute_force(codec, vectors, ids, queries, k, exact=False):
    """All documents by float64 scores rounded to float32; binary ones only if they are near in bits."""
    decoded = codec.decode(codec.encode(vectors)).astype(np.float64)
    scores = np.einsum("nd,qd->qn", decoded, queries.astype(np.float64)).astype(np.float32)
    distances = ((queries[:, None] > codec.scales[0]) != (vectors[None] > codec.scales[0])).sum(axis=2)
    run = []
    for row, far in zip(scores, distances, strict=True):
        kept = range(len(ids))
        if codec.precision == "binary" and not exact:
            kept = np.flatnonzero(far <= np.sort(far)[min(OVERSAMPLE * (k + MARGIN), SIZE) - 1])
        best = sorted(((float(row[place]), ids[place]) for place in kept), reverse=True)[:k]
        run.append([(doc_id, np.float32(score).tobytes()) for score, doc_id in best])
    return run


def rounded(run):
    """Scores to six digits: einsum over pairs and over matrices differ in the last bits of float64."""
    return [[(doc_id, round(float(np.frombuffer(score, np.float32)[0]), 6)) for doc_id, score in row] for row in run]


@pytest.mark.parametrize("precision", ["int8", "binary"])
@pytest.mark.parametrize("kind", ["plain", "ties"])
def test_any_number_of_shards_gives_the_run_of_brute_force(tmp_path, kind, precision):
    vectors, ids, queries = collection(kind)
    codec = fit(precision, vectors)
    want = {k: brute_force(codec, vectors, ids, queries, k) for k in (1, 10, SIZE + 50)}
    exact = brute_force(codec, vectors, ids, queries, 10, exact=True)
    seen = {}
    for number in (1, 2, 8):
        shards = write(tmp_path / str(number), vectors, ids, number, codec)
        for k, run in want.items():
            found = merged(shards, queries, k)
            assert rounded(found) == rounded(run), (number, k)
            assert seen.setdefault(k, found) == found
        assert rounded(merged(shards, queries, 10, exact=True)) == rounded(exact)
    one = [merged(shards, queries[number : number + 1], 10)[0] for number in range(QUERIES)]
    assert one == seen[10]


def test_empty_and_damaged_shards(tmp_path):
    vectors, ids, queries = collection()
    codec = fit("binary", vectors)
    empty = Codec("int8", fit("int8", vectors[:0]).scales)
    write_shard_files(tmp_path / "empty" / "shards", 0, [], (0, DIMENSION), codec=empty)
    assert Shards(tmp_path / "empty" / "shards", [0]).search(queries, 5).places.shape == (QUERIES, 0)
    (holder,) = write(tmp_path, vectors, ids, 1, codec)
    assert holder.shards[0].vectors.codes.nbytes == SIZE * 3
    scales = shard_file(tmp_path / "shards", 0, "scales.npy")
    scales.write_bytes(scales.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(DamagedError, match=r"scales\.npy"):
        Shards(tmp_path / "shards", [0])
    scales.unlink()
    with pytest.raises(DamagedError, match="missing"):
        Shards(tmp_path / "shards", [0])
