"""The logit lens: what each layer would answer, were it the last (nostalgebraist 2020; the paper's section 5).

At the answer's place the residual stream after every block goes through the model's final norm and head, and the safe
option's logit is compared with the leaky one's. Both option orders are asked. The paper's scripts look up " A" after
"(", where the two options together have a probability of 0.0005 (measured); here an option's token is the one that
stands there, and the options' mass is told beside every difference.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from discretion.errors import DiscretionError
from discretion.mechanism.anatomy import anatomy, watched
from discretion.models import Question
from discretion.models.local import LocalModel

Array = NDArray[np.float64]
# Between the last layer's reading and the model's own logits, of their spread: float32, and what rounds more.
_CLOSE, _CLOSE_IN_HALF = 0.01, 0.1


class Lens(NamedTuple):
    """One row a question, one column a layer.

    Attributes:
        difference: logit of the safe option minus the leaky one's.
        mass: probability of both options together.
        rank: place of the likelier of the two in the vocabulary, 0 is the top.
    """

    difference: Array
    mass: Array
    rank: Array


def read_lens(model: LocalModel, questions: Sequence[tuple[Question, int]]) -> Lens:
    """Every layer's answer to each question; the number beside it says which option is the leaky one.

    Questions of one context in a row share what their prompts have in common.

    Raises:
        DiscretionError: what the lens reads off the last layer is not what the model answers.
    """
    rows: list[tuple[Array, Array, Array]] = []
    with model.inside() as network:
        parts = anatomy(network)
        last = [torch.empty(0)] * len(parts.blocks)
        device = next(parts.norm.parameters()).device  # several may share a model

        def see(number: int, hidden: torch.Tensor) -> None:
            last[number] = hidden[0, -1].to(device, copy=True)

        with watched(parts.blocks, see), torch.inference_mode():
            given = model.answers([question for question, _ in questions])
            for (logits, options), (_, leaky) in zip(given, questions, strict=True):
                layers = parts.logits(parts.norm(torch.stack(last)))
                if not _alike(layers[-1], logits):
                    raise DiscretionError(
                        f"{model.name}: its head is more than a norm and a matrix, so layers cannot be read with it"
                    )
                rows.append(_row(layers, options, leaky))
    return Lens(*(np.stack(column) for column in zip(*rows, strict=True)))


def _alike(read: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether the last layer's reading is what the model answers, but for rounding."""
    close = _CLOSE if own.dtype == torch.float32 else _CLOSE_IN_HALF
    own = own.float().to(read.device)
    return float((read - own).abs().quantile(0.99)) <= close * float(own.std())


def _row(layers: torch.Tensor, options: Sequence[int], leaky: int) -> tuple[Array, Array, Array]:
    both = layers[:, list(options)]
    best = both.max(dim=-1, keepdim=True).values
    return (
        (both[:, 1 - leaky] - both[:, leaky]).double().cpu().numpy(),
        layers.softmax(dim=-1)[:, list(options)].sum(dim=-1).double().cpu().numpy(),
        (layers > best).sum(dim=-1).double().cpu().numpy(),
    )
