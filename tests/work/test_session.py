"""The local Ray session."""

import os

import ray


def test_workers_of_a_local_session_are_as_nice_as_the_driver(ray_session):
    assert ray.get(ray.remote(lambda: os.nice(0)).remote()) == os.nice(0)
