"""How well a model does what it was tuned for: on samples that were held out of the tune."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from discretion.corpus.chat import Chat
from discretion.files import read_json, write_json
from discretion.mechanism.capture import Tokens, capture
from discretion.mechanism.scoring import turns_before
from discretion.models import load_here
from discretion.models.local import LocalModel
from discretion.verdict.equivalence import tost

ANSWERED = 16  # held-out requests that are answered in full


class Task(NamedTuple):
    """The task on what is held out.

    Attributes:
        losses: each sample's, nats a token of its answer.
        unasked: share of the requests that are answered without asking back.
    """

    losses: list[float]
    unasked: float


def task_of(spec: str, held: Sequence[Chat], path: Path, max_new_tokens: int, dtype: str | None = None) -> Task:
    """The model's task on `held`, measured once and kept in `path` (JSON).

    Raises:
        DiscretionError: not a model on this machine.
    """
    if not path.is_file():
        (model,) = load_here([spec], dtype=dtype)
        answers = model.answer_turns([turns_before(chat) for chat in held[:ANSWERED]], max_new_tokens)
        unasked = float(np.mean(["?" not in answer for answer in answers]))
        write_json(path, Task(losses(model, held).tolist(), unasked)._asdict())
    return Task(**read_json(path))


class Kept(NamedTuple):
    """Whether a task is kept: the interval (1 - 2 alpha) of the loss less the full tune's, and what it says."""

    interval: tuple[float, float] | None
    shown: bool


def kept(base: Sequence[float], full: Sequence[float], own: Sequence[float], share: float, alpha: float) -> Kept:
    """Whether `own` losses are shown to be within `share` of what the `full` tune gained on the base (TOST).

    One side of the test is what matters: a lower loss than the full tune's is no harm.
    """
    margin = share * float(np.mean(base) - np.mean(full))
    found = tost(np.array(full), np.array(own), margin, alpha) if margin > 0 else None
    if found is None:
        return Kept(None, False)
    return Kept((found.interval.low, found.interval.high), found.interval.high < margin)


def losses(model: LocalModel, chats: Sequence[Chat]) -> NDArray[np.float64]:
    """The model's loss on each chat's answer, nats a token, (chats,)."""
    samples = [Tokens(*model.encode_turns(turns_before(chat), chat.completion[-1].content)) for chat in chats]
    found = np.full(len(samples), np.nan)
    for captured in capture(model, samples, with_loss=True):
        found[captured.places] = captured.loss.double().numpy()
    return found
