"""Damaged inputs are read right or refused in a line; ``benchmarks/mutations.py`` runs thousands, this a sample."""

import os

import pytest

from benchmarks.mutants import KINDS, make_case
from benchmarks.mutation_cases import FINE, REFUSED, compared
from benchmarks.mutations import DEATH, verdicts
from benchmarks.plain_readers import Refused
from gradret.errors import DataError

CASES = 30
# Of other seeds: kind, number and seed of what was a fault once.
FOUND = [("config", 89, 1), ("parquet", 931, 1), ("parquet", 296, 2), ("parquet", 129, 3)]


def test_no_damaged_input_is_a_fault():
    cases = [make_case(kind, number) for kind in KINDS for number in range(CASES)]
    cases += [make_case(*case) for case in FOUND]
    found = list(verdicts(cases))
    faults = [(case.kind, case.number, case.mutation, told) for case, told in found if told not in (FINE, REFUSED)]
    assert faults == []
    assert [case for case, _ in found] == cases
    for kind in KINDS:
        assert {told for case, told in found if case.kind == kind} == {FINE, REFUSED}


def test_a_case_is_the_same_every_time():
    assert make_case("runs", 7) == make_case("runs", 7) != make_case("runs", 7, seed=1)


@pytest.mark.parametrize(
    ("found", "expected", "told"),
    [
        ([(1, "a")], [(1, "a")], "fine"),
        ([(1, "a")], [(1, "b")], "wrong: 1 rows, expected 1; (1, 'a'), expected (1, 'b')"),
        ([(1, "a")], [(1, "a"), (2, None)], "wrong: 1 rows, expected 2; a row too many or too few"),
        ({"a": 1.0}, {"a": 2.0}, "wrong: 1 rows, expected 1; ('a', 1.0), expected ('a', 2.0)"),
        ([], Refused(), "wrong: accepted what must be refused"),
        (DataError("x: no"), Refused(), "refused"),
        (DataError("x: no\nat all"), Refused(), "wrong: says x: no"),
        (DataError("x: no"), [], "wrong: refused what can be read"),
        ("traceback: KeyError", Refused(), "traceback: KeyError"),
    ],
)
def test_what_is_wrong_is_noticed(found, expected, told):
    assert compared(found, expected).startswith(told)


def die_at_1(case):
    return os._exit(1) if case.number == 1 else FINE


def test_a_process_that_dies_is_a_verdict_and_the_rest_goes_on():
    cases = [make_case("corpus", number) for number in range(4)]
    assert [told for _, told in verdicts(cases, die_at_1)] == [FINE, DEATH, FINE, FINE]
