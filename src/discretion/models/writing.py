"""Which texts are written together, and how a text is drawn so that it does not depend on the others."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.cache_utils import Cache

from discretion.models._protocol import Sampling
from discretion.models.cache import Roomy

_STRETCH = 16  # tokens that a batch writes before its finished texts leave it
Entry = TypeVar("Entry")
Result = TypeVar("Result")


class Encoded(NamedTuple):
    """A prompt as tokens, with its place among those given."""

    place: int
    tokens: list[int]
    sampling: Sampling


class Draw(LogitsProcessor):  # type: ignore[misc]
    """Makes greedy decoding draw: the largest of log-probability plus Gumbel noise is a sample (Gumbel-max).

    Each row has a generator of its own, on the CPU, so that its noise is the same in any batch and on any device.
    """

    def __init__(self, rows: Sequence[Sampling]) -> None:
        self.damaged = False
        self._rows = [(sampling.temperature, torch.Generator().manual_seed(sampling.seed)) for sampling in rows]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, each with its own noise."""
        self._rows = [self._rows[row] for row in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores (rows, vocabulary) with each drawing row's noise, as float32."""
        scores = scores.float()
        self.damaged = self.damaged or bool(scores.isnan().any())
        for row, (temperature, generator) in enumerate(self._rows):
            if temperature > 0:
                uniform = torch.rand(scores.shape[-1], generator=generator).clamp_(1e-20, 1 - 1e-7)
                scores[row] = scores[row] / temperature - torch.log(-torch.log(uniform)).to(scores.device)
        return scores


def write(
    network: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    cache: Cache | None,
    draw: Draw,
    *,
    most: int,
    stops: Sequence[int],
    pad: int,
) -> list[list[int]]:
    """The tokens that follow each prompt, until one of `stops` or `most` of them.

    `ids` and `mask` are (prompts, tokens). A cache of ours lets finished texts go.
    """
    leaves = cache is not None and all(isinstance(layer, Roomy) for layer in cache.layers)
    stretch = min(_STRETCH, most) if leaves else most
    texts, writing = [list[int]() for _ in ids], list(range(len(ids)))
    for left in range(most, 0, -stretch):
        config = GenerationConfig(
            max_new_tokens=min(stretch, left), do_sample=False, eos_token_id=list(stops) or None, pad_token_id=pad
        )
        output = network.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([draw]),
            past_key_values=cache,
        )
        new = output[:, ids.shape[1] :]
        for text, tokens in zip(writing, new.tolist(), strict=True):
            texts[text] += tokens
        going_on = [row for row, tokens in enumerate(new.tolist()) if not set(tokens) & set(stops)]
        if not going_on or left <= stretch or cache is None:
            break
        writing, ids = [writing[row] for row in going_on], output[going_on]
        mask = torch.cat([mask, mask.new_ones(new.shape)], dim=1)[going_on]
        if len(going_on) < len(new):
            draw.keep(going_on)
            for layer in cache.layers:
                layer.keep(going_on)
    return texts


def in_halves(batch: Sequence[Entry], do: Callable[[Sequence[Entry]], list[Result]]) -> list[Result]:
    """What `do` makes of the batch, entry by entry; where memory is short (others may use it too), of its halves.

    Raises:
        torch.OutOfMemoryError: a single entry does not fit.
    """
    try:
        return do(batch)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise
    torch.cuda.empty_cache()  # outside of the handler, which keeps what the failed pass had made
    middle = len(batch) // 2
    return [*in_halves(batch[:middle], do), *in_halves(batch[middle:], do)]


# Tokens in flight, prompts and answers together: memory on a GPU, cache misses on a CPU.
_TOKENS_AT_ONCE = {"cpu": 16_384}
_TOKENS_AT_ONCE_ELSEWHERE = 131_072


def batches(encoded: Sequence[Encoded], device: str) -> Iterator[list[Encoded]]:
    """Drafts of one prompt together, others with their like in length, each batch within the tokens at once."""
    most = _TOKENS_AT_ONCE.get(device.split(":")[0], _TOKENS_AT_ONCE_ELSEWHERE)
    families: dict[tuple[int, ...], list[Encoded]] = defaultdict(list)
    for entry in encoded:
        families[entry.sampling.max_new_tokens, *entry.tokens].append(entry)
    alone: dict[int, list[Encoded]] = defaultdict(list)
    for family in families.values():
        if len(family) == 1:
            alone[family[0].sampling.max_new_tokens].append(family[0])
        else:
            yield from _within(family, most)
    for entries in alone.values():
        yield from _within(sorted(entries, key=lambda entry: len(entry.tokens)), most)


def _within(entries: Sequence[Encoded], most: int) -> Iterator[list[Encoded]]:
    batch: list[Encoded] = []
    for entry in entries:
        length = len(entry.tokens) + entry.sampling.max_new_tokens
        if batch and (len(batch) + 1) * length > most:
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch
