"""GPU search without a GPU: an index on the CPU stores vectors in float16, as a GPU does."""

import faiss
import numpy as np
import pytest

from gradret.errors import ConfigError
from gradret.search.gpu import MAX_RESULTS, on_gpu
from gradret.search.shard_files import write_shard_files
from gradret.search.shards import Shards
from tests.search.test_shards import brute_force, merged

SIZE, DIMENSION = 2500, 16


class Half:
    """An index of vectors rounded to float16, which gives no more results than a GPU does."""

    def __init__(self, vectors):
        self.index = faiss.IndexFlatIP(DIMENSION)
        self.index.add(vectors.astype(np.float16).astype(np.float32))
        self.asked = []

    def search(self, queries, k):
        assert k <= MAX_RESULTS
        self.asked.append(k)
        return self.index.search(queries.astype(np.float16).astype(np.float32), k)


@pytest.mark.parametrize(("k", "used"), [(400, True), (MAX_RESULTS, False)])
def test_float16_changes_nothing_and_too_many_results_come_from_the_cpu(tmp_path, k, used):
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((SIZE, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids, queries = [f"d{n:04d}" for n in range(SIZE)], vectors[:20] + np.float32(0.01)
    write_shard_files(tmp_path / "shards", 0, [(ids, vectors)], vectors.shape)
    holder = Shards(tmp_path / "shards", [0])
    half = holder.shards[0].fast = Half(vectors)
    want = brute_force(vectors, ids, queries, k)
    assert merged([holder], queries, k) == want
    assert bool(half.asked) == used
    # Without the slack that float16 needs the order would be wrong: the stand-in alone does not find the same.
    alone = [[ids[place] for place in row] for row in half.index.search(queries, k)[1]]
    assert alone != [[doc_id for doc_id, _ in run] for run in want]


def test_no_gpu_is_a_wrong_config():
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="FAISS sees no GPU here; install"):
        on_gpu(faiss.IndexFlatIP(4))
