"""Signals end a run, those too whose exception Python ignores."""

import signal
import weakref

import pytest

from gradret.work.signals import Terminated, raise_missed, raised_signals


class Referred:
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_that_python_ignores_is_raised_again(number, raised):
    reached = []

    def run():
        with raised_signals():
            referred = Referred()
            callback = weakref.ref(referred, lambda _: signal.raise_signal(number))
            del referred
            reached.append(callback() is None)  # the callback's exception is ignored
            raise_missed()
            reached.append("after")

    with pytest.raises(KeyboardInterrupt) as ended:
        run()
    assert type(ended.value) is raised
    assert reached == [True]
    raise_missed()  # not for the next block


def test_a_call_that_replaces_what_sigterm_raises_ends_as_terminated():
    """As ray.get does, which raises KeyboardInterrupt in its place."""

    def run():
        with raised_signals():
            try:
                signal.raise_signal(signal.SIGTERM)
            except Terminated:
                raise KeyboardInterrupt from None

    with pytest.raises(Terminated):
        run()


def test_handlers_are_those_of_before():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with raised_signals():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
