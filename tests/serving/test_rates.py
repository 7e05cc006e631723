"""Token buckets, by a clock that the test sets."""

import pytest

from gradret.serving.rates import Rates
from gradret.serving.refused import Refused


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def refused(rates, address="10.0.0.1"):
    """Count a request; the seconds to wait if it is refused."""
    try:
        rates.count(address)
    except Refused as error:
        return int(error.headers["Retry-After"])
    return 0


def test_a_client_may_ask_two_seconds_worth_at_once_and_then_at_its_rate():
    clock = Clock()
    rates = Rates(5, 1000, clock)
    assert [refused(rates) for _ in range(11)] == [0] * 10 + [1]
    clock.now += 0.2
    assert [refused(rates) for _ in range(2)] == [0, 1]
    clock.now += 1000
    assert [refused(rates) for _ in range(11)] == [0] * 10 + [1]


def test_another_client_is_not_held_back():
    rates = Rates(1, 1000, Clock())
    assert [refused(rates, "10.0.0.1") for _ in range(3)] == [0, 0, 1]
    assert refused(rates, "10.0.0.2") == 0


def test_all_clients_together_have_a_limit():
    rates = Rates(1000, 2, Clock())
    assert [refused(rates, f"10.0.0.{number}") for number in range(5)] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_a_network_of_ipv6_is_one_client(one, other, same):
    rates = Rates(1, 1000, Clock())
    assert [refused(rates, one), refused(rates, one), refused(rates, other)] == [0, 0, int(same)]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr("gradret.serving.rates._MOST_CLIENTS", 3)
    rates = Rates(1, 1000, Clock())
    for number in range(10):
        rates.count(f"10.0.0.{number}")
    assert list(rates.clients) == ["10.0.0.7", "10.0.0.8", "10.0.0.9"]
