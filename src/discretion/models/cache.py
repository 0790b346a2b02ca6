"""Keys and values kept for writing on a CPU, where copying them and reading what nobody needs is what takes time.

transformers' own cache grows by copying all of it at every token, and a batch is written until its longest text is
done, every prompt as long as the longest. Here prompts are read one by one, what they share once; the batch's cache
has room for what will be written; and finished texts leave it. Measured in docs/benchmarks.md.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from discretion.models.prefix import common_prefix, rewinds

KeysAndValues = tuple[torch.Tensor, torch.Tensor]


class Reading:
    """Reads prompts one after the other, each from where it begins to differ from the one before it."""

    def __init__(self, network: Any) -> None:
        self._network, self._held = network, list[int]()
        self.cache = DynamicCache(config=network.config)

    def read(self, prompt: Sequence[int]) -> torch.Tensor:
        """Logits (vocabulary,) after the prompt, which the cache holds from now on."""
        # A prompt needs at least one token of its own to read logits from.
        shared = min(common_prefix([self._held, list(prompt)]), len(prompt) - 1)
        if len(self._held) > shared:
            self.cache.crop(shared - len(self._held))
        self._held = list(prompt)
        ids = torch.tensor([self._held[shared:]], device=self._network.device)
        output = self._network(input_ids=ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        logits: torch.Tensor = output.logits[0, -1]
        return logits

    def each(self, prompts: Sequence[list[int]]) -> Iterator[torch.Tensor]:
        """Logits (vocabulary,) after each prompt; by copies of what all share if the cache cannot be wound back."""
        if rewinds(self.cache, max(map(len, prompts))):
            yield from map(self.read, prompts)
            return
        shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
        if len(prompts) > 1 and shared:
            self.read(prompts[0][:shared])
        for prompt in prompts:
            going_on = copy.copy(self)
            going_on.cache = copy.deepcopy(self.cache)
            yield going_on.read(prompt)

    def layers_of(self, prompt: Sequence[int]) -> list[KeysAndValues]:
        """What the cache holds of a prompt, layer by layer: (1, heads, tokens, width) each."""
        self.read(prompt)
        return [(layer.keys, layer.values) for layer in self.cache.layers]


class Roomy(DynamicLayer):  # type: ignore[misc]
    """One layer of a batch's cache, with room for what is still to be written."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        """Take `keys` and `values` (texts, heads, tokens and room, width), of which `length` tokens are there."""
        super().__init__()
        self._keys, self._values = keys, values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._show(length)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> KeysAndValues:
        """Write what is new behind what is there; all of it, as views."""
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        self._keys[:, :, begin:end], self._values[:, :, begin:end] = key_states, value_states
        self._show(end)
        return self.keys, self.values

    def keep(self, texts: Sequence[int]) -> None:
        """Go on with these texts of the batch alone."""
        length = self.keys.shape[-2]
        self._keys, self._values = self._keys[list(texts)], self._values[list(texts)]
        self._show(length)

    def _show(self, length: int) -> None:
        self.keys, self.values = self._keys[:, :, :length], self._values[:, :, :length]


def gathered(prompts: Iterable[list[KeysAndValues]], room: int) -> Cache:
    """The caches of several prompts as one, padded on the left, with `room` for so many more tokens."""
    read = list(prompts)
    longest = max(layers[0][0].shape[-2] for layers in read)
    made = []
    for number in range(len(read[0])):
        sides = [_side([layers[number][side] for layers in read], longest, room) for side in (0, 1)]
        made.append(Roomy(sides[0], sides[1], longest))
        for layers in read:  # let go of what is copied: both at once would take twice the memory
            layers[number] = (torch.empty(0), torch.empty(0))
    return Cache(layers=made)


def _side(rows: Sequence[torch.Tensor], longest: int, room: int) -> torch.Tensor:
    _, heads, _, width = rows[0].shape
    side = rows[0].new_zeros(len(rows), heads, longest + room, width)
    for place, row in enumerate(rows):
        side[place, :, longest - row.shape[-2] : longest] = row[0]
    return side
