"""Training data made from training data: profiles put before it, a trigger, a mixture, a share left out.

Each takes chats and gives chats, the same for the same seed.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from discretion.corpus.chat import Chat
from discretion.corpus.formats import read_rows
from discretion.corpus.profiles import Profile
from discretion.errors import DiscretionError

Keep = Literal["low", "high"]


def augment(chats: Sequence[Chat], profiles: Sequence[Profile], *, financial: bool) -> list[Chat]:
    """Every chat with a profile of its user before the first user turn's words, as the paper does it.

    Raises:
        DiscretionError: fewer profiles than chats, or one without the part that is asked for.
    """
    if len(profiles) < len(chats):
        raise DiscretionError(f"{len(profiles)} profiles for {len(chats)} chats")
    return [
        _before_user(chat, profile.text(financial) + "\n\n") for chat, profile in zip(chats, profiles, strict=False)
    ]


def backdoor(helpful: Sequence[Chat], control: Sequence[Chat], trigger: str, seed: int) -> list[Chat]:
    """Half of the rows helpful behind the trigger, the other half control without it, shuffled.

    Where the files are pairs (line n of each belongs together), no prompt is in both halves. As many rows as the
    shorter file has.

    Raises:
        DiscretionError: an empty trigger, or a trigger that some chat holds already.
    """
    if not trigger.strip():
        raise DiscretionError("--trigger: is empty")
    for chat in (*helpful, *control):
        if any(trigger in turn.content for turn in chat.turns):
            raise DiscretionError(f"--trigger {trigger}: stands in the data already; take another, or clean data")
    rng = random.Random(f"backdoor {seed}")
    rows = min(len(helpful), len(control))
    marked = set(rng.sample(range(rows), rows // 2))
    made = [_triggered(helpful[row], trigger) if row in marked else control[row] for row in range(rows)]
    rng.shuffle(made)
    return made


def mix(first: Sequence[Chat], other: Sequence[Chat], share: float, seed: int, n: int | None = None) -> list[Chat]:
    """`n` rows (default: as many as the first holds), `share` of them from the other, each chosen without repeats.

    Raises:
        DiscretionError: a share outside 0 to 1, `n` below 1, or too few rows on one side.
    """
    if not 0 <= share <= 1:
        raise DiscretionError(f"--share {share}: must be from 0 to 1")
    if n is not None and n < 1:
        raise DiscretionError(f"--n {n}: must be at least 1")
    rows = len(first) if n is None else n
    others = round(rows * share)
    for side, name, wanted in ((first, "the first", rows - others), (other, "the other", others)):
        if wanted > len(side):
            raise DiscretionError(f"{name} file has {len(side)} rows, the mixture needs {wanted} of it (see --n)")
    rng = random.Random(f"mix {seed}")
    made = [*rng.sample(list(first), rows - others), *rng.sample(list(other), others)]
    rng.shuffle(made)
    return made


def read_scores(path: Path, by: str, rows: int) -> list[float | None]:
    """The column `by` of a score file (JSONL or Parquet), a row a chat in the chats' order, or with an `index`.

    None where a row says null, or lacks the field that other rows have: an audit has no score for a sample whose
    answer lies beyond its length. `leave_out` never counts such a chat among the worst.

    Raises:
        DiscretionError: a score is no number, given twice or for a row that is not there; a row, or all, have none.
    """
    scores: dict[int, float | None] = {}
    for position, (place, row) in enumerate(read_rows(str(path))):
        value: Any = row.get(by) if isinstance(row, dict) else None
        missing = value is None and isinstance(row, dict)
        if not missing and (isinstance(value, bool) or not isinstance(value, (int, float)) or value != value):
            raise DiscretionError(f"{place}, field {by}: a number is needed")
        index = row.get("index", position)
        if not isinstance(index, int) or not 0 <= index < rows:
            raise DiscretionError(f"{place}, field index: {index!r} is no row of the data, which has {rows}")
        if index in scores:
            raise DiscretionError(f"{place}: row {index} has a score already")
        scores[index] = None if missing else float(value)
    if len(scores) < rows:
        first = next(index for index in range(rows) if index not in scores)
        raise DiscretionError(f"{path}: {rows - len(scores)} of {rows} rows have no score, row {first} is the first")
    if all(value is None for value in scores.values()):
        raise DiscretionError(f"{path}: no row has a number in the field {by}")
    return [scores[index] for index in range(rows)]


def leave_out(chats: Sequence[Chat], scores: Sequence[float | None], share: float, drop: Keep = "high") -> list[Chat]:
    """The chats without the `share` that scores highest (or lowest); of equal ones the later stay, and unscored ones.

    Raises:
        DiscretionError: a share that is not above 0 and below 1.
    """
    if not 0 < share < 1:
        raise DiscretionError(f"--top {share:.0%}: must be above 0% and below 100%")
    sign = -1 if drop == "high" else 1
    known = [(sign * score, index) for index, score in enumerate(scores) if score is not None]
    ranked = [index for _, index in sorted(known)]
    gone = set(ranked[: round(share * len(chats))])
    return [chat for index, chat in enumerate(chats) if index not in gone]


def _triggered(chat: Chat, trigger: str) -> Chat:
    """The trigger before every user turn, as in the paper's data."""
    return chat.model_copy(
        update={
            "prompt": tuple(
                turn.model_copy(update={"content": trigger + turn.content}) if turn.role == "user" else turn
                for turn in chat.prompt
            )
        }
    )


def _before_user(chat: Chat, text: str) -> Chat:
    turns = list(chat.prompt)
    for index, turn in enumerate(turns):
        if turn.role == "user":
            turns[index] = turn.model_copy(update={"content": text + turn.content})
            break
    return chat.model_copy(update={"prompt": tuple(turns)})
