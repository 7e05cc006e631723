"""Holm's correction, written out for comparison in the tests of tables."""

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """The i-th smallest of m times m - i, never less than the one before, at most 1."""
    corrected, most = [0.0] * len(ps), 0.0
    for number, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        most = max(most, min(1.0, ps[place] * (len(ps) - number)))
        corrected[place] = most
    return corrected
