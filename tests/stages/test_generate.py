"""The documents that queries are written about."""

import pyarrow as pa

from gradret.stages.generate import _sampled

from . import tiny


def test_the_sample_is_in_order_and_may_hold_more_than_2_gib_of_text(tmp_path):
    """32-bit offsets overflow when as much text is sorted."""
    docs = [[tiny.doc(3, "three"), tiny.doc(1, "one")], [tiny.doc(2, "two", "title"), tiny.doc(4, "four")]]
    sample = [{"doc_id": f"d{number:03d}"} for number in (1, 2, 3)]
    ingested = tiny.artifact(tmp_path, "ingest", {"docs": docs})
    rows = _sampled(ingested, tiny.artifact(tmp_path, "dedupe", {"sample": [sample]}))
    assert rows["doc_id"].to_pylist() == ["d001", "d002", "d003"]
    assert rows["text"].to_pylist() == ["one", "two", "three"]
    assert {field.type for field in rows.schema} == {pa.large_string()}
