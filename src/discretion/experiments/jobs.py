"""Work done one piece after the other, or side by side, each process doing one piece after another.

A process takes half a minute to load the libraries, so it is kept for the next piece. Every piece writes into a
folder of its own, so they do not meet.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Protocol

from discretion.errors import DiscretionError

Say = Callable[[str], None]


class Piece(Protocol):
    """Something to do; it can be sent to another process."""

    @property
    def name(self) -> str:
        """What its lines begin with."""
        ...

    def do(self, say: Say) -> None:
        """Do what is not done yet."""
        ...


def do_all(pieces: Sequence[Piece], jobs: int, say: Say) -> None:
    """Do the pieces, `jobs` at a time; what they say goes to stderr with their names.

    Raises:
        DiscretionError: a piece failed; where they are done side by side the others are done all the same, and the
            message is the first one's.
    """
    if jobs == 1 or len(pieces) < 2:
        for number, piece in enumerate(pieces, start=1):
            say(f"{piece.name} ({number} of {len(pieces)})")
            piece.do(say)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    failed: list[str] = []
    with ProcessPoolExecutor(
        min(jobs, len(pieces)), multiprocessing.get_context("spawn"), initializer=_share, initargs=(threads,)
    ) as pool:
        running: dict[Future[None], Piece] = {pool.submit(_do, piece): piece for piece in pieces}
        for number, future in enumerate(as_completed(running), start=1):
            name, error = running[future].name, future.exception()
            if error is not None:
                failed.append(f"{name}: {error}")
            say(f"{name}: {'failed' if error else 'done'} ({number} of {len(pieces)})")
    if failed:
        raise DiscretionError(failed[0] + (f" (and {len(failed) - 1} more failed)" if len(failed) > 1 else ""))


def _share(threads: int) -> None:
    """In a new process: its share of the cores."""
    import torch

    torch.set_num_threads(threads)


def _do(piece: Piece) -> None:
    piece.do(lambda line: print(f"{piece.name}: {line}", file=sys.stderr, flush=True))
