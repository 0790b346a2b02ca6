"""Reaching into the residual stream: add a direction, take it out, or put another model's stream in its place."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch

from discretion.mechanism.anatomy import anatomy, changed
from discretion.models.local import LocalModel


@contextmanager
def steered(model: LocalModel, vectors: Mapping[int, torch.Tensor]) -> Iterator[None]:
    """Inside, `vectors[layer]` (width,) is added to the stream after that block, at every token.

    A vector's length is the dose; the stream of a small model has a length of some tens to hundreds.
    """

    def add(number: int, hidden: torch.Tensor) -> torch.Tensor | None:
        if number not in vectors:
            return None
        return hidden + vectors[number].to(hidden.device, hidden.dtype)

    with model.inside() as network, changed(anatomy(network).blocks, add):
        yield


@contextmanager
def ablated(model: LocalModel, vectors: Mapping[int, torch.Tensor]) -> Iterator[None]:
    """Inside, the stream's part along `vectors[layer]` is taken out after that block, at every token."""
    units = {number: vector / vector.norm() for number, vector in vectors.items() if float(vector.norm()) > 0}

    def remove(number: int, hidden: torch.Tensor) -> torch.Tensor | None:
        if number not in units:
            return None
        unit = units[number].to(hidden.device, hidden.dtype)
        along: torch.Tensor = (hidden @ unit).unsqueeze(-1) * unit
        return hidden - along

    with model.inside() as network, changed(anatomy(network).blocks, remove):
        yield


@contextmanager
def patched(model: LocalModel, layer: int, streams: Sequence[torch.Tensor]) -> Iterator[None]:
    """Inside, the n-th forward pass has `streams[n]` (width,) as its last token's stream after `layer`."""
    waiting = iter(streams)

    def put(number: int, hidden: torch.Tensor) -> torch.Tensor | None:
        if number != layer:
            return None
        made = hidden.clone()
        made[:, -1] = next(waiting).to(hidden.device, hidden.dtype)
        return made

    with model.inside() as network, changed(anatomy(network).blocks, put):
        yield
