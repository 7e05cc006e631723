import pytest

from gradret.doctor.nodes import Machine


@pytest.fixture
def machine():
    """Makes a machine with nothing wrong, but for what is given."""

    def make(name="node 10.0.0.2", resources=None, **facts):
        plain = {
            "versions": {"python": "3.11.7", "gradret": "0.1.0", "ray": "2.60.0", "torch": "2.13.0+cpu"},
            "code": "c0de",
            "missing": [],
            "gpus": {},
            "storage": {"exists": True, "seen": True, "problem": "", "free": 10**12},
            "shm": 10**10,
            "hub": {},
        }
        return Machine(name, plain | facts, resources or {})

    return make
