from gradret.pairs import pair_id


def test_pair_ids_do_not_run_together():
    assert pair_id("a", "bc") != pair_id("ab", "c")
    assert pair_id("a", "b") == pair_id("a", "b")
