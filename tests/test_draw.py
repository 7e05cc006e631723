import hashlib

import numpy as np

from gradret.draw import draw, generator


def test_a_draw_is_the_head_of_a_sha256():
    assert draw("dev", 3, "d1") == int(hashlib.sha256(b"dev:3:d1").hexdigest()[:16], 16)
    # printf dev:3:d1 | sha256sum
    assert draw("a") == 0xCA978112CA1BBDCA  # the published digest of "a" begins so


def test_draws_are_even_and_differ_by_purpose_seed_and_id():
    shares = np.array([draw("dev", 0, number) for number in range(10_000)], np.float64) / 2**64
    assert abs(shares.mean() - 0.5) < 0.02
    assert len({draw("dev", 0, "a"), draw("kind", 0, "a"), draw("dev", 1, "a"), draw("dev", 0, "b")}) == 4


def test_a_generator_depends_on_its_parts_alone():
    first = generator("random", 0, "q1").integers(1000, size=5)
    assert first.tolist() == generator("random", 0, "q1").integers(1000, size=5).tolist()
    assert first.tolist() != generator("random", 1, "q1").integers(1000, size=5).tolist()
