"""Several LoRA adapters as one, exactly.

An adapter's change of a weight is a product of two thin matrices. A weighted sum of such products is again one, as
wide as all of them together, so nothing is approximate. Where one of them leaves a weight alone, its part is zero.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from discretion.errors import DiscretionError
from discretion.files import read_json, write_text
from discretion.models.weights import STEERING

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def refuse_other_than_lora(folder: Path) -> None:
    """Say it before anything is trained, if an adapter could not be added to another.

    Raises:
        DiscretionError: it is no plain LoRA.
    """
    config = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA" or any(
        config.get(option) for option in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern")
    ):
        raise DiscretionError(f"{folder}: is no plain LoRA, so it cannot be added to another adapter")
    if (folder / STEERING).is_file():
        raise DiscretionError(f"{folder}: is steered; a vector cannot become part of another adapter")
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        names = list(file.keys())
    if unknown := [name for name in names if ".lora_A." not in name and ".lora_B." not in name]:
        raise DiscretionError(f"{folder}: holds {unknown[0]}, which is no LoRA matrix")


def combine(parts: Sequence[tuple[float, Path]], out: Path) -> Path:
    """Write the weighted sum of adapters of one base into `out`, with the last one's configuration.

    Raises:
        DiscretionError: one is no plain LoRA.
    """
    matrices: list[dict[str, torch.Tensor]] = []
    targets: set[str] = set()
    ranks = []
    for weight, folder in parts:
        refuse_other_than_lora(folder)
        found, config = load_file(folder / WEIGHTS), read_json(folder / CONFIG)
        # The modules' own names: a configuration may name them by a pattern.
        targets |= {name.partition(".lora_")[0].rpartition(".")[2] for name in found}
        ranks.append(int(config["r"]))
        scale = weight * float(config["lora_alpha"]) / ranks[-1]
        matrices.append(
            {name: value.float() * (scale if ".lora_B." in name else 1.0) for name, value in found.items()}
        )
    joined = {}
    for name in sorted(set().union(*matrices)):
        across = 0 if ".lora_A." in name else 1
        like = next(part[name] for part in matrices if name in part)
        pieces = [
            part[name]
            if name in part
            else like.new_zeros((rank, like.shape[1]) if across == 0 else (like.shape[0], rank))
            for part, rank in zip(matrices, ranks, strict=True)
        ]
        joined[name] = torch.cat(pieces, dim=across).contiguous()
    changes = {"r": sum(ranks), "lora_alpha": sum(ranks), "target_modules": sorted(targets)}
    config = read_json(parts[-1][1] / CONFIG) | changes
    unfinished = out.with_name(out.name + ".joined")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    save_file(joined, unfinished / WEIGHTS, metadata={"format": "pt"})
    write_text(unfinished / CONFIG, json.dumps(config, indent=2) + "\n")
    if out.exists():
        shutil.rmtree(out)
    unfinished.rename(out)
    return out
