"""Directions on disk: safetensors for us, GGUF control vectors for llama.cpp, repeng and what reads theirs."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from discretion.errors import DiscretionError

_NAME = "direction"


class Saved(NamedTuple):
    """A direction as it was saved.

    Attributes:
        vectors: (layers, width), towards the safe side.
        layer: the one that separates best, fixed on the fitting half.
        model: fingerprint of the model whose stream it is of.
        facts: what else was said of it.
    """

    vectors: torch.Tensor
    layer: int
    model: str
    facts: dict[str, str]


def save_direction(path: Path, vectors: torch.Tensor, layer: int, model: str, facts: dict[str, str]) -> None:
    """Write the vectors (layers, width) with what is needed to use them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {**facts, "layer": str(layer), "model": model, "format": "pt"}
    unfinished = path.with_name(path.name + ".part")
    save_file({_NAME: vectors.float().contiguous()}, unfinished, metadata=told)
    unfinished.replace(path)


def load_direction(path: Path) -> Saved:
    """What `save_direction` wrote.

    Raises:
        DiscretionError: it is not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told: dict[str, Any] = dict(file.metadata() or {})
            vectors = file.get_tensor(_NAME)
        told.pop("format", None)
        return Saved(vectors, int(told.pop("layer")), str(told.pop("model")), told)
    except FileNotFoundError as error:
        raise DiscretionError(f"{path}: no such file") from error
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise DiscretionError(f"{path}: holds no direction (one is written by discretion explain)") from error


def save_control_vector(path: Path, vectors: torch.Tensor, family: str) -> None:
    """The same as a GGUF control vector: `direction.N` is added to the output of block N.

    llama.cpp knows no control vector for block 0, so that one is left out.
    """
    from gguf import GGUFWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = GGUFWriter(str(path), "controlvector")
    writer.add_string("controlvector.model_hint", family)
    writer.add_uint32("controlvector.layer_count", len(vectors) - 1)
    for layer in range(1, len(vectors)):
        writer.add_tensor(f"{_NAME}.{layer}", vectors[layer].float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
