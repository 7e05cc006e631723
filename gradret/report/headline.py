"""Say in words how the tuned model compares with the base model and BM25: wins, ties, losses, gain, significance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradret.stats.significance import ALPHA, Comparison, Results, headline_measure, mean, p_text

if TYPE_CHECKING:
    from gradret.stats.significance import Mean

__all__ = ["Verdict", "headline", "verdicts"]

_NAMES = {"bm25": "BM25", "base": "the base model", "tuned": "the tuned model", "teacher": "the teacher"}
_OTHERS = ("base", "bm25")
_SAME = 1e-9


@dataclass(frozen=True)
class Verdict:
    """The tuned model against another system, by the headline measure."""

    name: str
    wins: int
    ties: int
    losses: int
    gain: Mean
    """Mean of the differences, with its 95% bootstrap interval."""
    in_words: str
    """Whether the difference is significant."""


def verdicts(results: Results, seed: int) -> list[Verdict]:
    """The tuned model against the base model and BM25, as far as they were evaluated."""
    measure = headline_measure(results.measures)
    compared = [results.comparison(other, measure or "") for other in _OTHERS]
    return [_verdict(results, each, seed) for each in compared if each]


def _verdict(results: Results, compared: Comparison, seed: int) -> Verdict:
    gains = results.values["tuned"][compared.measure] - results.values[compared.b][compared.measure]
    wins, losses = int((gains > _SAME).sum()), int((gains < -_SAME).sum())
    ties = len(gains) - wins - losses
    return Verdict(_NAMES[compared.b], wins, ties, losses, mean(gains, seed), _in_words(compared))


def _in_words(compared: Comparison) -> str:
    p = compared.p_corrected
    if p is None:
        return "There are too few queries for a test."
    if p >= ALPHA:
        return f"This may be chance: corrected for all comparisons, it is not significant ({p_text(p)})."
    return f"This is unlikely to be chance: corrected for all comparisons, it is significant ({p_text(p)})."


def headline(results: Results) -> str:
    """One sentence: tuned against base and BM25 on the headline measure, with significance."""
    measure = headline_measure(results.measures)
    if not measure or not results.systems:
        return "No system was evaluated."
    if "tuned" not in results.values:
        return "The tuned model was not evaluated."
    text = f"On {len(results.query_ids):,} test queries the tuned model reaches {measure} "
    text += f"{results.means['tuned'][measure].value:.3f}"
    comparisons = [results.comparison(other, measure) for other in _OTHERS]
    phrases = [_phrase(each, results.means[each.b][measure].value) for each in comparisons if each]
    if not phrases:
        return f"{text}; there is no other system to compare it with."
    return f"{text}: {', and '.join(phrases)}."


def _phrase(comparison: Comparison, value: float) -> str:
    """A phrase such as ``significantly better than BM25 at 0.665 (+0.012, p = 0.012)``."""
    other, difference, p = _NAMES[comparison.b], comparison.difference, comparison.p_corrected
    if p is None:
        return f"{difference:+.3f} against {other} at {value:.3f} (too few queries to test)"
    if p >= ALPHA:
        return f"not significantly different from {other} at {value:.3f} ({difference:+.3f}, {p_text(p)})"
    word = "better" if difference > 0 else "worse"
    return f"significantly {word} than {other} at {value:.3f} ({difference:+.3f}, {p_text(p)})"
