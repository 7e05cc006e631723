"""The memory plan: its estimates, and its messages if something does not fit."""

import re

import pytest

from gradret.errors import ConfigError
from gradret.search.plan import check, gib, node_memory, plan

MIB, GIB = 1 << 20, 1 << 30


def test_exact_search_takes_its_vectors_and_building_it_hardly_any_memory():
    found = plan("Flat", 2_000_000, 384, 4, 50_000)
    assert found.shard == 500_000 * 384 * 4
    assert found.building < GIB
    assert found.learning == 0
    assert 2_000_000 * 384 * 4 < found.disk < 1.1 * 2_000_000 * 384 * 4
    check(found, 2 * GIB, 4 * GIB)


def test_a_lossy_index_by_hand():
    found = plan("IVF4096,PQ48x8", 2_000_000, 384, 4, 50_000)
    trained = 4 * 384 * 4096 + 4 * 384 * (384 + 256)
    assert (found.a_vector, found.training, found.trained) == (48 + 8, 40 * 4096, trained)
    assert found.shard == 500_000 * 56 + trained
    assert found.learning > found.training * 384 * 4


def test_more_shards_where_one_is_too_large():
    """The number that the message names fits, and one less does not."""
    large = plan("HNSW32", 2_000_000, 384, 1, 50_000)
    with pytest.raises(ConfigError, match=r"building a shard of 2,000,000 vectors takes 7\.. GiB") as caught:
        check(large, 3 * GIB, 100 * GIB)
    shards = int(re.search(r"index.num_shards=(\d+) fits", str(caught.value))[1])
    check(plan("HNSW32", 2_000_000, 384, shards, 50_000), 3 * GIB, 100 * GIB)
    with pytest.raises(ConfigError, match="does not fit"):
        check(plan("HNSW32", 2_000_000, 384, shards - 1, 50_000), 3 * GIB, 100 * GIB)


def test_another_type_where_training_is_too_large():
    with pytest.raises(
        ConfigError, match=r"training IVF65536,PQ48x8 on 2,000,000 vectors takes .*index.factory=(\S+) fits"
    ) as caught:
        check(plan("IVF65536,PQ48x8", 2_000_000, 384, 4, 50_000), 3 * GIB, 100 * GIB)
    factory = re.search(r"index.factory=(\S+) fits", str(caught.value))[1]
    check(plan(factory, 2_000_000, 384, 4, 50_000), 3 * GIB, 100 * GIB)


def test_a_full_disk_and_too_little_memory_are_told_together():
    with pytest.raises(
        ConfigError, match=r"(?s)no index type fits: the nodes need more memory.*on disk, but only 1\.0 GiB are free"
    ):
        check(plan("SQ8", 2_000_000, 384, 4, 50_000), 100 * MIB, GIB)


def test_memory_as_given_or_as_there_is():
    assert node_memory(1.5) == 1.5 * GIB
    assert 0 < node_memory(0) < 1 << 50
    assert [gib(size) for size in (1.5 * GIB, 320 * MIB)] == ["1.5 GiB", "320 MiB"]
