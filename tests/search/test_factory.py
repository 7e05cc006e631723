"""Factory strings: bytes per vector against FAISS's files, automatic choice, and errors."""

import faiss
import numpy as np
import pytest

from gradret.errors import ConfigError
from gradret.search.factory import bytes_a_vector, choose, empty_index, lists, misspelt, set_parameters, training_size

GIB = 1 << 30


@pytest.mark.parametrize(
    "factory",
    ["Flat", "SQfp16", "SQ8", "PQ8x4", "IVF4,Flat", "IVF4,SQ8", "PCA8,IVF4,SQ8", "HNSW8", "HNSW16,SQ8",
     "IVF4,Flat,RFlat"],
)  # fmt: skip
def test_bytes_a_vector_are_those_that_faiss_writes(factory):
    vectors = np.random.default_rng(0).standard_normal((6000, 32)).astype(np.float32)
    index = empty_index(factory, 32)
    expected = bytes_a_vector(index)
    index.train(vectors[:2000])
    sizes = []
    for part in (vectors[:2000], vectors[2000:]):
        index.add(part)
        sizes.append(len(faiss.serialize_index(index)))
    assert (sizes[1] - sizes[0]) / 4000 == pytest.approx(expected, rel=0.02)


def test_auto_loses_no_more_than_it_must():
    assert choose(5000, 384, 8 * GIB)[0] == choose(1_000_000, 768, 64 * GIB)[0] == "Flat"
    factory, why = choose(2_000_000, 384, 24 * GIB)
    assert factory == "IVF4096,SQ8"
    assert "2,000,000 vectors are too many" in why
    factory, why = choose(900_000, 384, GIB)
    assert factory == "IVF4096,SQ8"
    assert "1.3 GiB of vectors are more than half of 1.0 GiB" in why
    assert choose(8_841_823, 768, 8 * GIB)[0] == "OPQ96,IVF16384,PQ96x8"
    assert choose(1_000_000_000, 768, 64 * GIB)[0] == "OPQ24,IVF131072_HNSW32,PQ24x8"
    assert choose(1_000_000_000, 768, 2048 * GIB)[0] == "IVF131072_HNSW32,SQ8"
    for vectors, dimension, memory in [(60, 12, 100), (30_000, 100, 1000), (10**7, 7, GIB), (10**6 + 1, 384, 10)]:
        empty_index(choose(vectors, dimension, memory)[0], dimension)


def test_training_sizes():
    assert training_size(empty_index("HNSW16", 32), 10**6) == training_size(empty_index("SQfp16", 32), 10**6) == 0
    assert training_size(empty_index("IVF4096,Flat", 32), 10**6) == 40 * 4096
    assert training_size(empty_index("PCA16,IVF4096,Flat", 32), 1000) == 1000
    assert training_size(empty_index("PQ8", 32), 10**6) == 65_536
    assert [lists(empty_index(factory, 32)) for factory in ("Flat", "PCA16,IVF8,Flat", "IVF4_HNSW8,SQ8")] == [0, 8, 4]


@pytest.mark.parametrize("factory", ["Falt", "IVF4096,Flta", "PQ48x8x", "nprobe=3"])
def test_a_misspelt_factory_is_told_without_a_dimension(factory):
    assert "FAISS does not accept" in misspelt(factory)


def test_what_is_spelt_right_may_still_not_fit_the_dimension():
    assert misspelt("PQ7x8") == misspelt("OPQ48,IVF4096,PQ48x8") == ""
    assert "in parts" in misspelt("NSG32")
    assert misspelt("PQ9999999999999999999") == "a number in 'PQ9999999999999999999' is too large"
    assert misspelt("PQ16x24") == ""  # takes 240 GiB here, and little with few dimensions
    assert "sets its own ids" in misspelt("IDMap,Flat")
    with pytest.raises(
        ConfigError, match=r"PQ7x8: FAISS rejects it for vectors of dimension 32: .*multiple of the number"
    ):
        empty_index("PQ7x8", 32)


@pytest.mark.parametrize(
    ("factory", "given", "set_to"),
    [
        ("IVF1024,SQ8", "", "nprobe=16"), ("IVF16,SQ8", "", "nprobe=8"), ("IVF4,SQ8", "", "nprobe=4"),
        ("PCA8,IVF64,SQ8", "nprobe=3", "nprobe=3"),
        ("HNSW8", "", "efSearch=64"), ("PCA8,HNSW8", "efSearch=7", "efSearch=7"),
        ("IVF64_HNSW8,SQ8", "quantizer_efSearch=99", "nprobe=8,quantizer_efSearch=99"), ("SQ8", "", ""),
    ],
)  # fmt: skip
def test_search_parameters(factory, given, set_to):
    index = empty_index(factory, 32)
    assert set_parameters(index, given, 10) == set_to
    inner = faiss.try_extract_index_ivf(index)
    if inner is not None:
        assert f"nprobe={inner.nprobe}" in set_to
