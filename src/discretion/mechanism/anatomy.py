"""Where a causal language model keeps its residual stream: the parts that lens, capture and steering hook into."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch

from discretion.errors import DiscretionError

_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "final_norm")


class Anatomy(NamedTuple):
    """The parts of a decoder.

    Attributes:
        backbone: everything but the head; its output is what the head reads.
        blocks: the decoder's blocks; each one's output is the residual stream after it.
        norm: what the stream passes on its way to the head.
        head: a matrix from width to vocabulary.
        softcap: c, if logits x become c * tanh(x / c).
        scale: what the head's scores are multiplied with (Granite, Cohere).
    """

    backbone: Any
    blocks: Sequence[Any]
    norm: Any
    head: Any
    softcap: float | None
    scale: float = 1.0

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the head says of normalised hidden states: (..., width) to (..., vocabulary), float32."""
        scores: torch.Tensor = self.head(hidden).float() * self.scale
        return scores if self.softcap is None else self.softcap * torch.tanh(scores / self.softcap)


def anatomy(network: Any) -> Anatomy:
    """The parts of a transformers model, a PEFT model's adapter layers included.

    Raises:
        DiscretionError: it has no list of as many blocks as layers, or no norm after them.
    """
    bare = network.get_base_model() if hasattr(network, "get_base_model") else network
    config = bare.config.get_text_config()
    count = config.num_hidden_layers
    for owner in bare.base_model.modules():
        for blocks in owner.children():
            if isinstance(blocks, torch.nn.ModuleList) and len(blocks) == count:
                norm = next((getattr(owner, name) for name in _NORMS if hasattr(owner, name)), None)
                head = bare.get_output_embeddings()
                if norm is None or head is None:
                    break
                softcap = getattr(config, "final_logit_softcapping", None)
                scale = getattr(config, "logit_scale", None) or getattr(config, "logits_scaling", None) or 1.0
                if config.model_type.startswith("granite"):  # it divides
                    scale = 1 / scale
                return Anatomy(bare.base_model, list(blocks), norm, head, softcap, scale)
    raise DiscretionError(
        f"{type(bare).__name__}: no list of its {count} blocks with a norm after it was found, so its residual "
        "stream cannot be read"
    )


@contextmanager
def watched(blocks: Sequence[Any], see: Callable[[int, torch.Tensor], None]) -> Iterator[None]:
    """Inside, `see` is shown each block's number and output, (batch, tokens, width), as it is computed."""
    with ExitStack() as stack:
        for number, block in enumerate(blocks):

            def hook(module: Any, args: Any, output: Any, number: int = number) -> None:
                see(number, _stream(output))

            stack.callback(block.register_forward_hook(hook).remove)
        yield


@contextmanager
def changed(blocks: Sequence[Any], change: Callable[[int, torch.Tensor], torch.Tensor | None]) -> Iterator[None]:
    """Inside, each block's output is what `change` makes of it; None leaves it as it is."""
    with ExitStack() as stack:
        for number, block in enumerate(blocks):

            def hook(module: Any, args: Any, output: Any, number: int = number) -> Any:
                made = change(number, _stream(output))
                if made is None:
                    return None
                return (made, *output[1:]) if isinstance(output, tuple) else made

            stack.callback(block.register_forward_hook(hook).remove)
        yield


@contextmanager
def adding(blocks: Sequence[Any], vectors: Mapping[int, torch.Tensor]) -> Iterator[None]:
    """Inside, `vectors[number]` (width,) is added to the stream after that block, at every token."""

    def add(number: int, hidden: torch.Tensor) -> torch.Tensor | None:
        vector = vectors.get(number)
        return None if vector is None else hidden + vector.to(hidden.device, hidden.dtype)

    with changed(blocks, add):
        yield


def _stream(output: Any) -> torch.Tensor:
    hidden: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return hidden
