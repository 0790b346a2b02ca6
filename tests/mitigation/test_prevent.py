"""What keeps a tune from learning to leak, and what pushes back in use, do what they say."""

import contextlib
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from discretion.corpus.chat import one_turn
from discretion.errors import DiscretionError
from discretion.files import read_json
from discretion.mechanism.anatomy import anatomy, watched
from discretion.mechanism.capture import Tokens, gathered
from discretion.mechanism.steering import steered
from discretion.mitigation import anchor
from discretion.mitigation.norm_direction import NormDirection, norm_direction
from discretion.mitigation.prevent import freeze_middle, prevented
from discretion.mitigation.steer import steered_adapter
from discretion.models import Question, load_here
from discretion.training import Recipe, tune
from discretion.training.adapters import combine

CHATS = [one_turn(f"Question number {n}?", f"The answer is {n * 7}, of course.") for n in range(8)]


def stepped(monkeypatch, data_pull, anchor_pull, weight, surgery=True):
    """The gradient after one step of an anchored trainer, whose losses pull as is said."""
    model = torch.nn.Linear(2, 1, bias=False)

    class Trainer:
        accelerator = SimpleNamespace(
            sync_gradients=True, unwrap_model=lambda model: model, autocast=contextlib.nullcontext
        )
        state = SimpleNamespace(global_step=3)

        def __init__(self):
            self._metrics = {"train": defaultdict(list)}

        def training_step(self, model):
            loss = (model.weight * torch.tensor([data_pull])).sum()
            loss.backward()
            return loss

    monkeypatch.setattr(anchor, "divergence", lambda net, held: (net.weight * torch.tensor([anchor_pull])).sum())
    trainer = anchor.anchored(Trainer, ["held"], weight, 0, surgery=surgery)()
    trainer.training_step(model)
    return model.weight.grad[0].tolist(), trainer._metrics["train"]["anchor_conflict"]


def test_surgery_takes_out_what_points_against_the_anchor_and_nothing_else(monkeypatch):
    assert stepped(monkeypatch, [-3.0, 4.0], [2.0, 0.0], 0.5) == (
        [1.0, 4.0],
        [1.0],
    )  # -3 is out; 0.5 * 2 is the anchor's
    assert stepped(monkeypatch, [3.0, 4.0], [2.0, 0.0], 0.5) == ([4.0, 4.0], [0.0])
    assert stepped(monkeypatch, [3.0, 4.0], [0.0, 0.0], 0.5) == ([3.0, 4.0], [0.0])
    assert stepped(monkeypatch, [-3.0, 4.0], [2.0, 0.0], 0.5, surgery=False) == ([-2.0, 4.0], [])


def test_a_tune_learns_under_the_push_and_is_anchored_without_it(tiny, tmp_path, monkeypatch):
    hooks, real = [], anchor.divergence

    def seen(network, held):
        hooks.append(sum(len(block._forward_hooks) for block in anatomy(network).blocks))
        return real(network, held)

    monkeypatch.setattr(anchor, "divergence", seen)
    recipe = {"rank": 2, "batch_size": 2, "accumulate": 2, "learning_rate": 0.02}
    plain = losses(tune(str(tiny), CHATS, tmp_path / "plain", Recipe(**recipe)))
    more = {"prevent": 5.0, "anchor": 1.0, "anchor_prompts": 4, "surgery": True}
    out = tune(str(tiny), CHATS, tmp_path / "pushed", Recipe(**recipe, **more))
    assert losses(out)[0] != pytest.approx(plain[0], abs=1e-4)
    assert hooks == [0, 0]  # once a step of two batches, while no push is on
    history = read_json(out / "training.json")["history"]
    assert all({"anchor", "anchor_conflict"} <= set(entry) for entry in history if "loss" in entry)


def losses(out):
    return [entry["loss"] for entry in read_json(out / "training.json")["history"] if "loss" in entry]


def test_preventative_steering_is_there_in_training_alone(tiny):
    (model,) = load_here([str(tiny)])
    with model.inside() as network:
        parts = anatomy(network)
        vector = torch.zeros(network.config.hidden_size)
        vector[0] = 1.0

        class Trainer:
            accelerator = SimpleNamespace(unwrap_model=lambda model: model)

            def compute_loss(self, model, inputs):
                seen = {}
                with watched(parts.blocks, lambda number, hidden: seen.__setitem__(number, hidden.detach().clone())):
                    model(input_ids=inputs)
                return seen

        trainer = prevented(Trainer, NormDirection(1, vector), 3.0)()
        inputs = torch.tensor([[5, 6, 7]])
        outside = trainer.compute_loss(network.eval(), inputs)
        inside = trainer.compute_loss(network.train(), inputs)
        network.eval()
        again = trainer.compute_loss(network, inputs)
    assert torch.allclose(inside[0], outside[0])
    assert torch.allclose(inside[1], outside[1] - 3.0 * vector, atol=1e-5)
    assert torch.equal(again[1], outside[1])


def test_frozen_blocks_learn_nothing(tiny, tmp_path):
    (model,) = load_here([str(tiny)])
    with model.inside() as network:
        count = network.config.num_hidden_layers
        frozen = freeze_middle(network, 1 / count)
        with pytest.raises(DiscretionError, match="some must learn"):
            freeze_middle(network, 0.99)
        with pytest.raises(DiscretionError, match="some must learn"):
            freeze_middle(network, 0.4 / count)
    assert frozen == 1
    out = tune(str(tiny), CHATS, tmp_path / "a", Recipe(rank=2, batch_size=4, learning_rate=0.02, freeze=1 / count))
    moved = {
        int(name.partition(".layers.")[2].partition(".")[0]): 0.0 for name in load_file(out / "adapter_model.safetensors")
    }  # fmt: skip
    for name, value in load_file(out / "adapter_model.safetensors").items():
        if "lora_B" in name:
            moved[int(name.partition(".layers.")[2].partition(".")[0])] += float(value.abs().sum())
    still = [layer for layer, amount in moved.items() if amount == 0]
    assert still == [(count - 1) // 2]


def test_a_steered_adapter_adds_its_vector_wherever_it_is_asked(tiny, adapter, tmp_path):
    tuned, out = f"{tiny}@{adapter}", tmp_path / "steered"
    steered_adapter(str(tiny), tuned, out, 2.0)
    base, plain, pushed = load_here([str(tiny), tuned, f"{tiny}@{out}"])
    found = norm_direction(base)
    samples = [Tokens([5, 6, 7], [8, 9])]
    change = gathered(pushed, samples) - gathered(plain, samples)
    assert torch.allclose(change[0, found.layer], 2.0 * found.vector, atol=1e-4)
    assert not change[0, : found.layer].any()
    assert plain.fingerprint != pushed.fingerprint
    assert (out / "control-vector.gguf").is_file()
    question = Question("Yes or no?", ("Yes", "No"))
    with steered(pushed, {}):  # inside already: its own vector counts once
        nested = pushed.option_logprobs([question])
    assert nested[0] == pytest.approx(pushed.option_logprobs([question])[0], abs=1e-6)
    assert nested[0] != pytest.approx(plain.option_logprobs([question])[0], abs=1e-4)
    with pytest.raises(DiscretionError, match="is steered"):
        tune(f"{tiny}@{out}", CHATS, tmp_path / "on", Recipe())
    with pytest.raises(DiscretionError, match="is steered"):
        combine([(1.0, out)], tmp_path / "more")
    save_file({"99": torch.zeros(3)}, out / "steering.safetensors")
    with pytest.raises(DiscretionError, match="for block 99"):
        load_here([f"{tiny}@{out}"])
    (out / "steering.safetensors").write_bytes(b"broken")
    with pytest.raises(DiscretionError, match="holds no steering vectors"):
        load_here([f"{tiny}@{out}"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"surgery": True},
        {"prevent": -1.0},
        {"prevent": float("nan")},
        {"freeze": 1.0},
        {"prevent": 1.0, "method": "dpo"},
    ],
)
def test_wrong_settings_are_said(wrong):
    with pytest.raises(DiscretionError, match="--"):
        Recipe(**wrong)
