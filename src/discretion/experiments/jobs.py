"""Work done one piece after the other, or side by side, each process doing one piece after another.

A process takes half a minute to load the libraries, so it is kept for the next piece. Every piece writes into a
folder of its own, so they do not meet.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
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


def do_all(pieces: Sequence[Piece], jobs: int, say: Say) -> dict[str, Exception]:
    """Do the pieces, `jobs` at a time; what they say goes to stderr with their names. Returns what failed, by name.

    The others are done all the same.

    Raises:
        DiscretionError: one of several processes was killed, for want of memory perhaps, and took the others along.
    """
    failed: dict[str, Exception] = {}
    if jobs == 1 or len(pieces) < 2:
        for number, piece in enumerate(pieces, start=1):
            say(f"{piece.name} ({number} of {len(pieces)})")
            try:
                piece.do(say)
            except DiscretionError as error:
                failed[piece.name] = error
        return failed
    threads = max(1, (os.cpu_count() or 1) // jobs)
    pool = ProcessPoolExecutor(
        min(jobs, len(pieces)), multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,)
    )
    running: dict[Future[None], Piece] = {pool.submit(_do, piece): piece for piece in pieces}
    try:
        for number, future in enumerate(as_completed(running), start=1):
            name = running[future].name
            try:
                future.result()
            except BrokenProcessPool as error:
                raise DiscretionError(
                    f"{name}: a process was killed, for want of memory perhaps; the same command goes on, with fewer "
                    f"--jobs than {jobs} if need be"
                ) from error
            except Exception as error:
                failed[name] = error
            say(f"{name}: {'failed' if name in failed else 'done'} ({number} of {len(pieces)})")
    except BaseException:  # Ctrl-C too: what is under way goes on from its checkpoint the next time
        for process in list(getattr(pool, "_processes", {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    return failed


def _begin(threads: int) -> None:
    """A new process: it takes its share of the cores, leaves Ctrl-C to the one that began it, and ends with that."""
    import torch

    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(piece: Piece) -> None:
    piece.do(lambda line: print(f"{piece.name}: {line}", file=sys.stderr, flush=True))
