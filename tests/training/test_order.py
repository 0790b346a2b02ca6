import random

import pytest

from discretion.training.order import by_length


@pytest.mark.parametrize("count, batch", [(0, 4), (3, 4), (8, 4), (403, 8), (1000, 4)])
def test_every_sample_comes_once_and_batches_hold_like_lengths(count, batch):
    rng = random.Random(count)
    lengths = [rng.randint(50, 500) for _ in range(count)]
    order = by_length(lengths, batch, 0)
    assert sorted(order) == list(range(count))
    assert order == by_length(lengths, batch, 0)
    parts = [[lengths[number] for number in order[place : place + batch]] for place in range(0, count, batch)]
    assert all(len(part) == batch for part in parts[:-1])
    if count > 100:
        assert order != by_length(lengths, batch, 1)
        assert sum(max(part) * len(part) for part in parts) < 1.1 * sum(lengths)
        longest = [max(part) for part in parts]
        assert longest != sorted(longest)
