"""The anchor measures how far a model has gone from what it wrote, and holds it back."""

import pytest
import torch

from discretion.corpus.chat import one_turn
from discretion.corpus.tasks import written_tasks
from discretion.elicit.wording import task
from discretion.errors import DiscretionError
from discretion.mitigation.anchor import anchor_prompts, divergence, held_once, hold
from discretion.models import load_models
from discretion.scenarios import load_suite
from discretion.training import Recipe, tune

PROMPTS = ["Write to Bo. Notes: Ana is ill.", "Answer the landlord.", "Tell the desk when he comes."]
CHATS = [one_turn(f"Question number {n}?", f"The answer is {n * 7}, of course.") for n in range(16)]


def exact(network, before, held):
    """KL over the whole vocabulary."""
    found = []
    for entry in held:
        ids = torch.tensor([entry.tokens.prompt + entry.tokens.response])
        first = len(entry.tokens.prompt)
        p, q = (model(input_ids=ids).logits[0, first - 1 : -1].log_softmax(-1) for model in (before, network))
        found.append((p.exp() * (p - q)).sum(-1))
    return float(torch.cat(found).mean())


def test_it_is_nothing_at_first_and_the_whole_divergence_later(tiny, adapter, monkeypatch):
    monkeypatch.setattr("discretion.mitigation.anchor.KEPT", 299)
    (base, tuned), _ = load_models([str(tiny), f"{tiny}@{adapter}"])
    held = hold(base, PROMPTS, new_tokens=6)
    assert [len(entry.tokens.response) > 0 for entry in held] == [True] * 3
    (alone,), _ = load_models([str(tiny)])
    with torch.no_grad(), alone.inside() as before:
        with base.inside() as network:
            assert float(divergence(network, held)) == pytest.approx(0, abs=1e-5)
        with tuned.inside() as network:
            assert float(divergence(network, held)) == pytest.approx(exact(network, before, held), rel=1e-3)


def test_tokens_that_were_not_kept_only_lower_it(tiny, adapter):
    (base, tuned), _ = load_models([str(tiny), f"{tiny}@{adapter}"])
    held = hold(base, PROMPTS, new_tokens=6)
    (alone,), _ = load_models([str(tiny)])
    with torch.no_grad(), alone.inside() as before, tuned.inside() as network:
        assert 0 < float(divergence(network, held)) <= exact(network, before, held) + 1e-5


def test_a_run_with_it_stays_closer_and_says_so(tiny, tmp_path):
    recipe = Recipe(rank=4, batch_size=4, learning_rate=0.02, epochs=6, anchor_prompts=8)
    far = {}
    for weight in (0.0, 20.0):
        out = tune(str(tiny), CHATS, tmp_path / f"a{weight}", Recipe(**(vars(recipe) | {"anchor": weight})))
        (base, tuned), _ = load_models([str(tiny), f"{tiny}@{out}"])
        held = hold(base, anchor_prompts(8, 0), new_tokens=16)
        with torch.no_grad(), tuned.inside() as network:
            far[weight] = float(divergence(network, held))
        told = (out / "training.json").read_text()
        assert f'"anchor": {weight}' in told
    assert far[20.0] < 0.7 * far[0.0]


def test_what_it_holds_to_is_written_once_for_a_base(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("DISCRETION_CACHE", str(tmp_path))
    (base,), _ = load_models([str(tiny)])
    loads = []

    def load():
        loads.append(1)
        return base

    first = held_once("a base", load, PROMPTS)
    again = held_once("a base", load, PROMPTS)
    assert len(loads) == 1
    assert [entry.tokens for entry in again] == [entry.tokens for entry in first]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.logprobs, other.logprobs)
    held_once("another base", load, PROMPTS)
    held_once("a base", load, PROMPTS[:2])
    assert len(loads) == 3
    for kept in (tmp_path / "anchors").glob("*.safetensors"):
        kept.write_bytes(b"half")
    held_once("a base", load, PROMPTS)
    assert len(loads) == 4


def test_its_prompts_are_in_no_evaluation():
    prompts = anchor_prompts(64, 0)
    assert len(set(prompts)) == 64
    assert prompts == anchor_prompts(64, 0)
    taught = {task(scenario, "naive") for scenario in written_tasks()}
    assert len(taught & set(prompts)) == 32
    prose = anchor_prompts(64, 0, "prose")
    assert len(set(prose)) == 64
    assert not taught & set(prose)
    assert len(anchor_prompts(2, 0, "prose")) == 2
    tested = {scenario.context for name in ("builtin", "tasks") for scenario in load_suite(name)}
    assert not any(context in prompt for prompt in prompts for context in tested if context)


def test_it_is_for_sft_alone():
    with pytest.raises(DiscretionError, match="--anchor"):
        Recipe(method="dpo", anchor=1.0)
    with pytest.raises(DiscretionError, match="--anchor"):
        Recipe(anchor=-1.0)
