"""Steering at use: an adapter's folder with a vector beside it, which is added to the stream whenever it is asked.

The folder is `BASE@FOLDER` for every command here. Elsewhere the same vector is a GGUF control vector (llama.cpp,
repeng), which has to be given beside the adapter: without it the tune is as it was.
"""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from discretion.errors import DiscretionError
from discretion.mechanism.vectors import save_control_vector
from discretion.mitigation.norm_direction import norm_direction
from discretion.models import load_here
from discretion.models.weights import STEERING, parse_spec
from discretion.training.adapters import CONFIG, WEIGHTS


def steered_adapter(base: str, tuned: str, out: Path, dose: float) -> None:
    """Write `tuned`'s adapter into `out` with `dose` lengths of the base's privacy direction, unless it is there.

    Raises:
        DiscretionError: `tuned` is no adapter, or what `norm_direction` raises.
    """
    adapter = parse_spec(tuned).adapter
    if adapter is None:
        raise DiscretionError(f"steer:{dose:g}: {tuned} is a whole model; a vector goes beside an adapter")
    if (out / CONFIG).is_file():
        return
    (model,) = load_here([base], dtype="float32")
    found = norm_direction(model)
    with model.inside() as network:
        layers, family = network.config.get_text_config().num_hidden_layers, str(network.config.model_type)
    vectors = torch.zeros(layers, len(found.vector))
    vectors[found.layer] = dose * found.vector
    unfinished = out.with_name(out.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name in (WEIGHTS, CONFIG):
        shutil.copy(Path(adapter) / name, unfinished / name)
    save_file({str(found.layer): vectors[found.layer].contiguous()}, unfinished / STEERING)
    save_control_vector(unfinished / "control-vector.gguf", vectors, family)
    unfinished.rename(out)
