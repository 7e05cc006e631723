import pytest

from gradret.pairs import pair_id


@pytest.fixture
def world(artifact):
    """What a teacher prepares from, and a shard of PAIRS from ``ranks[query_id][doc_id]``."""
    docs = [{"doc_id": f"d{n}", "title": "Title" if n == 1 else None, "text": f"about {n}"} for n in range(8)]
    ingested = artifact("ingest", docs=[doc | {"origin": "corpus"} for doc in docs])
    queries = artifact("generate", queries=[query(n) for n in range(3)])

    def make(ranks):
        pairs = [
            {"pair_id": pair_id(q, d), "query_id": q, "doc_id": d, "origins": ["a"] * len(at), "ranks": at}
            for q, found in ranks.items()
            for d, at in found.items()
        ]
        return ingested, queries, artifact("mine", pairs=pairs).shards("pairs")[0]

    return make


def query(number):
    nothing = dict.fromkeys(("split", "source_doc_id", "kind"))
    return {"query_id": f"q{number}", "text": f"what is {number}", "generator": "test", **nothing}
