import pytest

from gradret.pairs import pair_id


# By hand: printf 'q1\0d1' | sha1sum | cut -c1-16. Artifacts on disk hold these keys.
@pytest.mark.parametrize(
    ("query_id", "doc_id", "key"),
    [
        ("q1", "d1", "1ea2bf8423750b30"),
        ("", "", "5ba93c9db0cff93f"),
        ("a", "bc", "0b2749668f0ea8df"),
        ("ab", "c", "dbdd4f85d8a56500"),
        ("ä", "文", "6b54c1e86e39a77b"),
    ],
)
def test_pair_ids_stay_as_they_are_on_disk(query_id, doc_id, key):
    assert pair_id(query_id, doc_id) == key


def test_pair_ids_do_not_run_together():
    assert pair_id("a", "bc") != pair_id("ab", "c")
    assert pair_id("a", "b") == pair_id("a", "b")
