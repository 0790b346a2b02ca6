import json

import pytest
import torch
from safetensors.torch import load_file

from conftest import save_adapter
from discretion.errors import DiscretionError
from discretion.mechanism.capture import Tokens, gathered
from discretion.mitigation.interpolate import interpolated
from discretion.models import load_models


@pytest.fixture(scope="module")
def second(models_dir, tiny):
    return save_adapter(models_dir / "second", tiny, seed=5)


def change(folder):
    """The change of every weight, by name."""
    found, config = (
        load_file(folder / "adapter_model.safetensors"),
        json.loads((folder / "adapter_config.json").read_text()),
    )
    scale = config["lora_alpha"] / config["r"]
    return {
        name: scale * found[name.replace("lora_A", "lora_B")].float() @ value.float()
        for name, value in found.items()
        if "lora_A" in name
    }


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_weight_is_between_the_two(adapter, second, tmp_path, share):
    made = change(interpolated(second, tmp_path / "between", share, before=adapter))
    one, other = change(adapter), change(second)
    for name, value in made.items():
        assert torch.allclose(value, (1 - share) * one[name] + share * other[name], atol=1e-5)


def test_the_ends_answer_as_what_they_are(tiny, adapter, second, tmp_path):
    samples = [Tokens([5, 6, 7], [8, 9])]
    specs = [f"{tiny}@{interpolated(second, tmp_path / f's{share}', share, before=adapter)}" for share in (0, 1)]
    (at_start, at_end, first, last), _ = load_models([*specs, f"{tiny}@{adapter}", f"{tiny}@{second}"])
    assert torch.allclose(gathered(at_start, samples), gathered(first, samples), atol=1e-5)
    assert torch.allclose(gathered(at_end, samples), gathered(last, samples), atol=1e-5)


def test_mistakes_are_said(adapter, tmp_path):
    with pytest.raises(DiscretionError, match="from 0 to 1"):
        interpolated(adapter, tmp_path / "x", 1.5)
