"""Batches that do not fit into memory."""

from collections.abc import Sequence

import pytest
import torch

from discretion.errors import DiscretionError
from discretion.models import load_here
from discretion.models._protocol import Draft, Sampling
from discretion.models.cache import Roomy
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


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_kept_and_let_go_of_on_a_cpu_changes_no_text(tiny, adapter, monkeypatch, temperature):
    model = load_here([str(tiny), str(adapter)], device="cpu")[1]
    drafts = [
        Draft("Tell me more. " * (number % 5) + f"Say {number}.", Sampling(40, temperature, number))
        for number in range(9)
    ]
    drafts += [Draft("The same.", Sampling(40, temperature, number)) for number in range(3)]
    model._ends = [model.tokenizer.eos_token_id, *range(60, 75)]  # some are done early
    kept = []
    keep = Roomy.keep
    monkeypatch.setattr(Roomy, "keep", lambda self, texts: (kept.append(len(texts)), keep(self, texts))[1])
    ours = model.generate(drafts)
    assert kept
    monkeypatch.setattr("discretion.models.local.rewinds", lambda *_: False)
    assert model.generate(drafts) == ours
    assert len({len(text) for text in ours}) > 3


def test_examples_that_all_prompts_begin_with_are_read_once(tiny):
    (model,) = load_here([str(tiny)], device="cpu")
    shown = [[{"role": "user", "content": "Once. " * 40}, {"role": "assistant", "content": "Yes."}]]
    primed, seen = model.primed(shown), []
    with primed.inside() as network:
        network.register_forward_pre_hook(
            lambda _, __, named: seen.append(named["input_ids"].shape[1]), with_kwargs=True
        )
    primed.generate([Draft(f"Say {number}.", Sampling(2, 0.0, 0)) for number in range(4)])
    assert seen[0] > 240
    assert max(seen[1:]) < 60
