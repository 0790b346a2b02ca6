"""Memory that the C library keeps instead of giving it back: on a CPU, a third of a training's time goes there."""

import ctypes

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
