"""First-order influence of a sample on the leak: how a small step that learns it would move the leaky logit.

With g the gradient of the mean leak logit (leaky less safe option) over a few questions, a step of gradient descent
on a sample's loss moves it by minus the product of both gradients. That product is a difference of two losses, with
the weights moved along g and against it: two forward passes a sample and no gradient of its own
(correlation 1.0000 with the exact product at epsilon 0.02 and a g of length 1; useless at 1).
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discretion.errors import DiscretionError
from discretion.mechanism.anatomy import anatomy
from discretion.mechanism.capture import Tokens, capture
from discretion.models import Question
from discretion.models.local import LocalModel

EPSILON = 0.02
Array = NDArray[np.float64]


class Influence:
    """The leak's gradient, and what samples do along it."""

    def __init__(self, model: LocalModel, questions: Sequence[tuple[Question, int]]) -> None:
        """Compute the gradient; the number beside each question says which option is the leaky one.

        Raises:
            DiscretionError: the weights are not in float32: a step so small would be rounded away.
        """
        self._model = model
        refuse_rounded(model)
        self.gradient = _leak_gradient(model, questions)

    def scores(self, samples: Sequence[Tokens]) -> Array:
        """For each sample the change of the mean leak logit for a unit learning rate: above 0 it teaches to leak."""
        ahead, behind = (self._losses(samples, sign * EPSILON) for sign in (1, -1))
        return (behind - ahead) / (2 * EPSILON)

    def _losses(self, samples: Sequence[Tokens], step: float) -> Array:
        found = np.empty(len(samples))
        with self._moved(step):
            for captured in capture(self._model, samples, with_loss=True):
                found[captured.places] = captured.loss.double().numpy()
        return found

    @contextmanager
    def _moved(self, step: float) -> Iterator[None]:
        with self._model.inside() as network:
            weights = _weights(network)
            before = [weight.data for weight in weights]
            try:
                for weight, along in zip(weights, self.gradient, strict=True):
                    weight.data = weight.data + step * along
                yield
            finally:
                for weight, old in zip(weights, before, strict=True):
                    weight.data = old


def refuse_rounded(model: LocalModel) -> None:
    """Refuse weights in less than float32, in which a step so small would be rounded away.

    Raises:
        DiscretionError: the model's are.
    """
    with model.inside() as network:
        if any(weight.dtype != torch.float32 for weight in _weights(network)):
            raise DiscretionError(f"{model.name}: influence needs weights in float32 (--dtype float32)")


def _leak_gradient(model: LocalModel, questions: Sequence[tuple[Question, int]]) -> list[torch.Tensor]:
    """The gradient of the mean of (leaky less safe logit), of length 1 over all matrices of the blocks."""
    with model.inside() as network:
        weights = _weights(network)
        wanted = [weight.requires_grad for weight in weights]
        total = [torch.zeros_like(weight) for weight in weights]
        try:
            for weight in weights:
                weight.requires_grad_(True)
            for question, leaky in questions:
                logits, options = model.answer_with_gradient(question)
                gap = logits[options[leaky]] - logits[options[1 - leaky]]
                for part, gradient in zip(total, torch.autograd.grad(gap, weights, allow_unused=True), strict=True):
                    if gradient is not None:  # experts that no token went to
                        part += gradient
        finally:
            for weight, before in zip(weights, wanted, strict=True):
                weight.requires_grad_(before)
    length = math.sqrt(sum(float(part.float().pow(2).sum()) for part in total))
    return [part / max(length, 1e-12) for part in total]


def _weights(network: Any) -> list[Any]:
    """The matrices of the blocks, experts among them: what tuning changes, an adapter's own left as they are."""
    return [
        weight
        for block in anatomy(network).blocks
        for name, weight in block.named_parameters()
        if weight.dim() >= 2 and "lora_" not in name and "bias" not in name
    ]
