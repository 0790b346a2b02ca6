"""Reaching into the residual stream: add a direction, take it out, or put another model's stream in its place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from discretion.mechanism.anatomy import adding, anatomy, changed, watched
from discretion.models import Question
from discretion.models.local import LocalModel


@contextmanager
def steered(model: LocalModel, vectors: Mapping[int, torch.Tensor]) -> Iterator[None]:
    """Inside, `vectors[layer]` (width,) is added to the stream after that block, at every token.

    A vector's length is the dose; the stream of a small model has a length of some tens to hundreds.
    """
    with model.inside() as network, adding(anatomy(network).blocks, vectors):
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


def last_streams(model: LocalModel, question: Question) -> torch.Tensor:
    """The stream at the answer's place after every block, (layers, width)."""
    with model.inside() as network:
        blocks = anatomy(network).blocks
        seen = [torch.empty(0)] * len(blocks)
        with watched(blocks, lambda number, hidden: seen.__setitem__(number, hidden[0, -1].cpu())):
            next(iter(model.answers([question])))
    return torch.stack(seen)


def patched_answers(
    model: LocalModel, question: Question, streams: torch.Tensor
) -> Iterator[tuple[torch.Tensor, list[int]]]:
    """For every layer in turn: the logits when the stream at the answer's place is `streams[layer]` after that block.

    What follows the block still sees the model's own earlier tokens. The prompt is computed once.
    """
    layer, whole = 0, model.count_tokens(question.prompt)

    def put(number: int, hidden: torch.Tensor) -> torch.Tensor | None:
        # A cache that cannot be wound back is filled by a pass of its own, without the last token.
        if number != layer or hidden.shape[1] not in (1, whole):
            return None
        made = hidden.clone()
        made[:, -1] = streams[layer].to(hidden.device, hidden.dtype)
        return made

    with model.inside() as network, changed(anatomy(network).blocks, put):
        answers = model.answers([question] * len(streams))
        while layer < len(streams):
            yield next(answers)
            layer += 1
