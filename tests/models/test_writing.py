"""Batches that do not fit into memory."""

from collections.abc import Sequence

import pytest
import torch

from discretion.errors import DiscretionError
from discretion.models import load_here
from discretion.models._protocol import Draft, Sampling
from discretion.models.writing import in_halves


def room_for(count: int):
    tried: list[int] = []

    def do(batch: Sequence[int]) -> list[int]:
        tried.append(len(batch))
        if len(batch) > count:
            raise torch.OutOfMemoryError
        return [10 * entry for entry in batch]

    return do, tried


def test_a_batch_that_does_not_fit_is_done_in_parts():
    do, tried = room_for(2)
    assert in_halves([1, 2, 3, 4, 5], do) == [10, 20, 30, 40, 50]
    assert tried == [5, 2, 3, 1, 2]
    with pytest.raises(torch.OutOfMemoryError):
        in_halves([1, 2], room_for(0)[0])


def test_texts_are_the_same_where_memory_is_short_and_one_text_too_long_is_said(tiny, monkeypatch):
    (model,) = load_here([str(tiny)], device="cpu")
    drafts = [Draft(f"Say {number}.", Sampling(4, 0.0, number)) for number in range(5)]
    wanted = model.generate(drafts)
    network, room = model._engine.network, 2
    generate = network.generate

    def short(**asked):
        if len(asked["input_ids"]) > room:
            raise torch.OutOfMemoryError
        return generate(**asked)

    monkeypatch.setattr(network, "generate", short)
    assert model.generate(drafts) == wanted
    room = 0
    with pytest.raises(DiscretionError, match="out of memory on cpu at one text of up to"):
        model.generate(drafts)
