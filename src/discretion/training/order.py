"""The order of samples in a run in which batches hold samples of like length."""

import random
from collections.abc import Sequence

_BATCHES = 50  # so many are grouped among themselves; the order of the whole stays random


def by_length(lengths: Sequence[int], batch: int, seed: int) -> list[int]:
    """The samples' numbers in a random order in which each `batch` of them are about as long; an incomplete one last.

    The same idea as transformers' `group_by_length`, which draws from the global generator and so gives another order
    when a run goes on from a checkpoint.
    """
    rng = random.Random(f"order {seed}")
    numbers = rng.sample(range(len(lengths)), len(lengths))
    order: list[int] = []
    for start in range(0, len(numbers), batch * _BATCHES):
        part = sorted(numbers[start : start + batch * _BATCHES], key=lengths.__getitem__)
        batches = [part[place : place + batch] for place in range(0, len(part), batch)]
        rest = [batches.pop()] if len(batches[-1]) < batch else []
        order += [number for group in (*rng.sample(batches, len(batches)), *rest) for number in group]
    return order
