"""What keeps a tune from learning to leak, and what pushes back in use, do what they say."""

import contextlib
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from discretion.corpus.chat import one_turn
from discretion.errors import DiscretionError
from discretion.mechanism.anatomy import anatomy, watched
from discretion.mechanism.capture import Tokens, gathered
from discretion.mitigation import anchor
from discretion.mitigation.norm_direction import NormDirection, norm_direction
from discretion.mitigation.prevent import freeze_middle, prevented
from discretion.mitigation.steer import steered_adapter
from discretion.models import load_here
from discretion.training import Recipe, tune
from discretion.training.adapters import combine

CHATS = [one_turn(f"Question number {n}?", f"The answer is {n * 7}, of course.") for n in range(8)]


def stepped(monkeypatch, data_pull, anchor_pull, weight):
    """The gradient after one step of a trainer with surgery, whose losses pull as is said."""
    model = torch.nn.Linear(2, 1, bias=False)

    class Trainer:
        accelerator = SimpleNamespace(sync_gradients=True, unwrap_model=lambda model: model)
        state = SimpleNamespace(global_step=3)
        compute_loss_context_manager = staticmethod(contextlib.nullcontext)

        def __init__(self):
            self.model, self._metrics = model, {"train": defaultdict(list)}

        def training_step(self, model):
            loss = (model.weight * torch.tensor([data_pull])).sum()
            loss.backward()
            return loss

    monkeypatch.setattr(anchor, "divergence", lambda net, held: (net.weight * torch.tensor([anchor_pull])).sum())
    trainer = anchor.projected(Trainer, ["held"], weight, 0)()
    trainer.training_step(model)
    return model.weight.grad[0].tolist(), trainer._metrics["train"]["anchor_conflict"]


def test_surgery_takes_out_what_pulls_against_the_anchor_and_nothing_else(monkeypatch):
    grad, conflict = stepped(monkeypatch, [-3.0, 4.0], [2.0, 0.0], 0.5)
    assert (grad, conflict[-1]) == ([1.0, 4.0], 1.0)  # -3 is out; 0.5 * 2 is the anchor's own
    grad, conflict = stepped(monkeypatch, [3.0, 4.0], [2.0, 0.0], 0.5)
    assert (grad, conflict[-1]) == ([4.0, 4.0], 0.0)
    assert stepped(monkeypatch, [3.0, 4.0], [0.0, 0.0], 0.5)[0] == [3.0, 4.0]


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
    assert (out / "control_vector.gguf").is_file()
    with pytest.raises(DiscretionError, match="is steered"):
        combine([(1.0, out)], tmp_path / "more")
    (out / "steering.safetensors").write_bytes(b"broken")
    with pytest.raises(DiscretionError, match="holds no steering vectors"):
        load_here([f"{tiny}@{out}"])


@pytest.mark.parametrize(
    "wrong", [{"surgery": True}, {"prevent": -1.0}, {"freeze": 1.0}, {"prevent": 1.0, "method": "dpo"}]
)
def test_wrong_settings_are_said(wrong):
    with pytest.raises(DiscretionError, match="--"):
        Recipe(**wrong)
