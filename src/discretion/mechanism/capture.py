"""The residual stream of many samples in one pass each, pooled inside the hooks.

Only sums are kept, (samples, pools, layers, width), so memory does not grow with the length of a prompt; the
vocabulary's logits are computed for the answer's tokens alone, and only where the loss is asked for. Prompts that
several samples share are computed once (394 against 259 tokens a CPU second for the usual way).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from discretion.errors import DiscretionError
from discretion.mechanism.anatomy import Anatomy, anatomy, watched
from discretion.models.local import LocalModel
from discretion.models.writing import in_halves

# Tokens of a batch: batches gain nothing on a CPU, where memory is what is short.
_TOKENS_AT_ONCE, _TOKENS_AT_ONCE_ELSEWHERE = 1024, 32_768
RESPONSE, PROMPT = 0, 1  # the pools


class Tokens(NamedTuple):
    """A prompt and an answer to it, as one model's tokens."""

    prompt: list[int]
    response: list[int]


class Captured(NamedTuple):
    """What was seen of a batch.

    Attributes:
        places: the samples' places among those given, (n,).
        residual: (n, pools, layers, width), float32, on the CPU. Pool 0 is the mean over the answer's tokens, pool 1
            the prompt's last token.
        loss: mean negative log-likelihood of the answer's tokens, nats, (n,); empty unless asked for.
    """

    places: list[int]
    residual: torch.Tensor
    loss: torch.Tensor


class _Sample(NamedTuple):
    place: int
    tokens: Tokens
    start: int  # what comes before is in the cache

    @property
    def rest(self) -> list[int]:
        return (self.tokens.prompt + self.tokens.response)[self.start :]


@torch.inference_mode()
def capture(model: LocalModel, samples: Sequence[Tokens], *, with_loss: bool = False) -> Iterator[Captured]:
    """The pooled residual stream of every sample, batch by batch, in no particular order.

    Raises:
        DiscretionError: a sample without a prompt or without an answer, or the model's blocks cannot be found.
    """
    if any(not sample.prompt or not sample.response for sample in samples):
        raise DiscretionError("a sample has no tokens in its prompt or in its answer")
    with model.inside() as network:
        parts = anatomy(network)
        device = next(parts.backbone.parameters()).device
        most = _TOKENS_AT_ONCE if device.type == "cpu" else _TOKENS_AT_ONCE_ELSEWHERE
        for batch in _batches(samples, most, _shares(network)):
            try:
                yield from in_halves(batch, lambda part: [_pass(network, parts, part, device, with_loss)])
            except torch.OutOfMemoryError as error:
                raise DiscretionError(
                    f"{model.name}: a sample of {len(batch[0].rest)} tokens or more does not fit into the GPU's "
                    "memory; give a smaller --max-length, or --dtype bfloat16"
                ) from error


def gathered(model: LocalModel, samples: Sequence[Tokens], pool: int = RESPONSE) -> torch.Tensor:
    """One pool of all samples in their order: (samples, layers, width)."""
    found: dict[int, torch.Tensor] = {}
    for captured in capture(model, samples):
        found |= dict(zip(captured.places, captured.residual[:, pool], strict=True))
    return torch.stack([found[place] for place in range(len(samples))])


def _pass(network: Any, parts: Anatomy, batch: Sequence[_Sample], device: torch.device, with_loss: bool) -> Captured:
    rows = [sample.rest for sample in batch]
    start, longest = batch[0].start, max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
    weights = torch.zeros(len(batch), 2, longest, device=device)
    for number, sample in enumerate(batch):
        first, many = len(sample.tokens.prompt) - start, len(sample.tokens.response)
        weights[number, RESPONSE, first : first + many] = 1 / many
        weights[number, PROMPT, first - 1] = 1
    seen: list[torch.Tensor] = [torch.empty(0)] * len(parts.blocks)

    def see(number: int, hidden: torch.Tensor) -> None:
        seen[number] = torch.bmm(weights.to(hidden.device), hidden.float()).cpu()

    cache = _prefix(network, parts, batch, device) if start else None
    # What is padded comes after all that is read, which does not see it. A mask would make attention slower.
    with watched(parts.blocks, see):
        output = parts.backbone(input_ids=ids, past_key_values=cache, use_cache=cache is not None).last_hidden_state
    residual = torch.stack(seen, dim=2)
    if not bool(residual.isfinite().all()):
        raise DiscretionError("the residual stream holds NaN or infinity; the weights are damaged or overflow")
    loss = _loss(parts, batch, output) if with_loss else torch.empty(0)
    return Captured([sample.place for sample in batch], residual, loss)


def _prefix(network: Any, parts: Anatomy, batch: Sequence[_Sample], device: torch.device) -> DynamicCache:
    """The cache of what all prompts of the batch begin with, a row each."""
    cache = DynamicCache(config=network.config)
    shared = torch.tensor([batch[0].tokens.prompt[: batch[0].start]], device=device)
    parts.backbone(input_ids=shared, past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(batch))
    return cache


def _loss(parts: Anatomy, batch: Sequence[_Sample], hidden: torch.Tensor) -> torch.Tensor:
    losses = []
    for number, sample in enumerate(batch):
        first, many = len(sample.tokens.prompt) - sample.start, len(sample.tokens.response)
        logits = parts.logits(hidden[number, first - 1 : first - 1 + many])
        target = torch.tensor(sample.tokens.response, device=logits.device)
        losses.append(torch.nn.functional.cross_entropy(logits, target))
    return torch.stack(losses).float().cpu()


def _shares(network: Any) -> bool:
    """Whether a cache can be given to several samples: not what recurrent layers keep."""
    layers = DynamicCache(config=network.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def _batches(samples: Sequence[Tokens], most: int, shares: bool) -> Iterator[list[_Sample]]:
    """Samples of one prompt together, its last token as the first that is not cached; others by length."""
    families: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        families[tuple(sample.prompt)].append(place)
    alone = sorted(
        (place for places in families.values() if len(places) == 1 or not shares for place in places),
        key=lambda place: len(samples[place].prompt) + len(samples[place].response),
    )
    yield from _within([_Sample(place, samples[place], 0) for place in alone], most)
    for prompt, places in families.items():
        if len(places) > 1 and shares:
            yield from _within([_Sample(place, samples[place], len(prompt) - 1) for place in places], most)


def _within(entries: Sequence[_Sample], most: int) -> Iterator[list[_Sample]]:
    batch: list[_Sample] = []
    for entry in entries:
        longest = entry.start + max(len(sample.rest) for sample in (*batch, entry))  # the cache is copied for each
        if batch and longest * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
