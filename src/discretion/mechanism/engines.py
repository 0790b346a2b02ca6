"""Who scores: this process, several, or Ray Data's workers. The rows are the same and come in the same order."""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch

from discretion.corpus.chat import Chat
from discretion.errors import DiscretionError
from discretion.mechanism.influence import Influence, refuse_rounded
from discretion.mechanism.scoring import Row, Scorer
from discretion.models import Question, load_here
from discretion.models.local import LocalModel

ENGINES = ("local", "processes", "ray")
_AHEAD = 4  # chunks a worker that wait, so that memory does not grow with the data
_WINDOW = 64  # chunks a worker that Ray is given at a time


class Chunk(NamedTuple):
    """Chats in a row and the number of the first."""

    first: int
    chats: list[Chat]


class Plan(NamedTuple):
    """How to make a `Scorer` anywhere: its fields, and the questions that the influence is taken over."""

    base: str
    device: str | None
    dtype: str | None
    layer: int
    direction: list[float]
    seed: int
    own_tokens: int
    max_length: int
    questions: Sequence[tuple[Question, int]]

    def scorer(self, model: LocalModel) -> Scorer:
        """The scorer, with the model loaded already."""
        return Scorer(
            model,
            self.layer,
            torch.tensor(self.direction),
            seed=self.seed,
            influence=Influence(model, self.questions) if self.questions else None,
            own_tokens=self.own_tokens,
            max_length=self.max_length,
        )


Engine = Callable[[Iterable[Chunk]], Iterator[list[Row]]]


@contextmanager
def started(plan: Plan, model: LocalModel, engine: str, workers: int) -> Iterator[Engine]:
    """Something that gives each chunk's rows, in order.

    Raises:
        DiscretionError: Ray is asked for and not installed.
    """
    if plan.questions:
        refuse_rounded(model)  # said here, not by a worker
    if engine == "local":
        scorer = plan.scorer(model)
        yield lambda chunks: (scorer.rows(chunk.chats, chunk.first) for chunk in chunks)
    elif engine == "processes":
        with ProcessPoolExecutor(workers, get_context("spawn"), _load_here, (plan, workers)) as pool:
            yield lambda chunks: _ordered(pool, chunks, workers * _AHEAD)
    else:
        yield lambda chunks: _by_ray(plan, chunks, workers)


def _ordered(pool: ProcessPoolExecutor, chunks: Iterable[Chunk], ahead: int) -> Iterator[list[Row]]:
    waiting: deque[Future[list[Row]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_rows, chunk))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DiscretionError(
            "--engine processes: a worker ended (what it said is above; no memory perhaps: fewer --workers). "
            "What is scored is kept; go on with --resume"
        ) from error


_scorer: Scorer | None = None  # of a worker process


def _load_here(plan: Plan, workers: int) -> None:
    """Load in a process of a pool, which ends when the one that started it does, however that ends."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    _load(plan, workers)


def _load(plan: Plan, workers: int) -> None:
    global _scorer
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    (model,) = load_here([plan.base], device=plan.device, dtype=plan.dtype)
    _scorer = plan.scorer(model)


def _rows(chunk: Chunk) -> list[Row]:
    assert _scorer is not None
    return _scorer.rows(chunk.chats, chunk.first)


def _by_ray(plan: Plan, chunks: Iterable[Chunk], workers: int) -> Iterator[list[Row]]:
    """Ray Data over windows of chunks: what waits in its object store does not grow with the data."""
    try:
        import ray
    except ImportError as error:
        raise DiscretionError("--engine ray: Ray is not installed; pip install 'discretion[ray]'") from error
    ray.init(ignore_reinit_error=True, log_to_driver=False, include_dashboard=False)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    rest = iter(chunks)
    while window := list(islice(rest, _WINDOW * workers)):
        rows = [{"first": chunk.first, "chats": [chat.model_dump_json() for chat in chunk.chats]} for chunk in window]
        made = ray.data.from_items(rows).map(_RayScorer, fn_constructor_args=(plan, workers), concurrency=workers)
        try:
            found = sorted(made.iter_rows(), key=lambda row: int(row["first"]))
        except ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()[-1]
            raise DiscretionError(f"--engine ray: a worker failed ({said}); --resume goes on") from error
        yield from (json.loads(row["rows"]) for row in found)


class _RayScorer:
    """A Ray worker: the model is loaded once and scores chunk after chunk."""

    def __init__(self, plan: Plan, workers: int) -> None:
        _load(plan, workers)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        chats = [Chat.model_validate_json(text) for text in row["chats"]]
        return {"first": int(row["first"]), "rows": json.dumps(_rows(Chunk(int(row["first"]), chats)))}
