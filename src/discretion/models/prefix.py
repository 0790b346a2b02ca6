"""What prompts share at their beginning is computed once: how much that is, and which caches allow it."""

from collections.abc import Sequence

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


def rewinds(cache: DynamicCache, tokens: int) -> bool:
    """Whether a cache that holds so many tokens can be wound back to fewer."""
    # A sliding-window layer forgets once it is full, and recurrent layers always do.
    return all(
        type(layer) is DynamicLayer or (type(layer) is DynamicSlidingWindowLayer and tokens < layer.sliding_window)
        for layer in cache.layers
    )


def common_prefix(sequences: Sequence[list[int]]) -> int:
    """How many tokens all of them begin with."""
    shortest, longest = min(sequences), max(sequences)  # lexicographic extremes differ earliest
    for index, (one, other) in enumerate(zip(shortest, longest, strict=False)):
        if one != other:
            return index
    return min(len(shortest), len(longest))
