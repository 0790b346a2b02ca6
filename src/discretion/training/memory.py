"""Where a training's time on a CPU goes for the sake of memory, and where it need not."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# glibc's malloc.h
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_NEVER, _PAD = 2**31 - 1, 256 << 20


def keep_freed_memory() -> bool:
    """Let the allocator reuse large blocks; whether it could be told (glibc only).

    A step allocates and frees the same tensors again and again. By default each large one is mapped anew, and the
    kernel zeroes every page of it. Measured here (SmolLM2-135M, LoRA, 2 cores): 1.4 times the tokens a second in
    float32, 1.6 times under bfloat16; the digits are the same. docs/benchmarks.md has the command.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc: macOS, musl, Windows
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _NEVER), mallopt(_TOP_PAD, _PAD)])


# Attention's scores, probabilities and their gradient, at 4 bytes each.
_KEPT = 3 * 4
_SHARE = 0.25


def _memory() -> float:
    """Bytes that this process may have: the machine's, or its container's."""
    found = [float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no cgroup, or "max"
            found.append(float(int(Path(path).read_text())))
    return min(found)


def eager_fits(config: Any, batch: int, longest: int) -> bool:
    """Whether a step's attention matrices, written out, fit into a quarter of this machine's memory.

    torch's fused attention saves that memory, but its backward pass on a CPU is slow: measured here (SmolLM2-135M,
    LoRA, 8 padded samples of 400 tokens, 2 cores with AVX2), 113 tokens a second, and 183 with the matrices
    written out.
    """
    layers, heads = getattr(config, "num_hidden_layers", None), getattr(config, "num_attention_heads", None)
    if not layers or not heads or not hasattr(os, "sysconf"):
        return False
    return bool(_KEPT * layers * heads * batch * longest**2 <= _SHARE * _memory())


@contextmanager
def completions_alone_are_scored() -> Iterator[None]:
    """Inside, TRL computes the vocabulary's logits only where they count, as it does on CUDA.

    Elsewhere it scores prompts as well (TRL 1.16, `add_fused_lm_head`), because accelerators that compile dislike
    changing shapes; a CPU does not mind. The loss is the same (tests/training/test_same_as_trl.py), and where prompts
    are long a third of a step's time is saved. A TRL without that switch is left as it is.
    """
    from trl.trainer import utils

    switch = getattr(utils, "_use_triton", None)
    if switch is None:
        yield
        return
    utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = switch
