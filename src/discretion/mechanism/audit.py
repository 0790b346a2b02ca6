"""`discretion audit`: every training sample's scores, and what the whole set would do, before anyone trains on it.

Rows are appended as they are made, so a stopped audit goes on; of the samples only numbers are kept in memory.
"""

import hashlib
import json
import math
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from discretion.corpus.chat import Chat
from discretion.corpus.formats import iter_chats
from discretion.errors import DiscretionError
from discretion.files import claim
from discretion.journal import AppendOnly
from discretion.mechanism.contrast import item_contrasts, leak_questions
from discretion.mechanism.direction import best_layer, differences
from discretion.mechanism.engines import ENGINES, Chunk, Engine, Plan, started
from discretion.mechanism.scoring import Row
from discretion.mechanism.vectors import load_direction, save_direction
from discretion.models import load_here
from discretion.models.local import LocalModel
from discretion.scenarios import choose, load_suite

Say = Callable[[str], None]
_CHUNK = 64
_ASKED = "audit-of.json"
GSM8K = "gsm8k"


@dataclass(frozen=True)
class AuditSettings:
    """What is scored, and how.

    Attributes:
        direction: of `discretion explain`, for the same base; None fits one on `units` pairs of `suite`.
        own: tokens of the model's own answer to each prompt, whose projection is subtracted; 0: none.
        influence: also the first-order influence on the leak, over `questions` questions of `suite`.
        engine: "local" (this process), "processes" or "ray" (Ray Data, extra [ray]), with `workers` of them.
        reference: samples of each set to compare with (helpful, control, GSM8K where at hand); 0: none.
    """

    direction: Path | None = None
    suite: str = "builtin:dev"
    units: int = 50
    own: int = 0
    influence: bool = False
    questions: int = 24
    reference: int = 64
    max_length: int = 1024
    seed: int = 0
    engine: str = "local"
    workers: int = 2
    data_dir: Path | None = None
    device: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise DiscretionError(f"--engine {self.engine}: known are {', '.join(ENGINES)}")
        for name in ("units", "questions", "max_length", "workers"):
            if getattr(self, name) < 1:
                raise DiscretionError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least 1")
        if self.influence and self.questions % 2:
            raise DiscretionError(f"--questions {self.questions}: must be even: each is asked in both option orders")
        for name in ("own", "reference"):
            if getattr(self, name) < 0:
                raise DiscretionError(f"--{name} {getattr(self, name)}: must be at least 0")


class Audited(NamedTuple):
    """Where the rows are, of the data and of each reference set, and what they were made with."""

    rows: Path
    references: dict[str, Path]
    layer: int
    model: str


def audit(base: str, data: Path, out: Path, asked: AuditSettings, say: Say, *, resume: bool = False) -> Audited:
    """Score every sample of `data` and of the reference sets into `out`.

    Raises:
        DiscretionError: not a local model, not its direction, a row that is no chat, or `out` is of another audit.
    """
    for _ in iter_chats(data):  # a row that is no chat is said now, not hours later
        pass
    (model,) = load_here([base], device=asked.device, dtype=asked.dtype)
    begun = (out / _ASKED).is_file()
    claim(out, _ASKED, _identity(model, data, asked), "audit")
    if begun and not resume:
        raise DiscretionError(f"{out}: holds an audit already; --resume goes on with it")
    plan = _plan(model, base, out, asked, say)
    references = {}
    rows = out / "scores.jsonl"
    with started(plan, model, asked.engine, asked.workers) as engine:
        for name, chats in _references(asked).items():
            references[name] = out / f"reference-{name}.jsonl"
            _score(engine, chats, references[name], f"reference {name}", say)
        _score(engine, iter_chats(data), rows, data.name, say)
    with rows.open(encoding="utf-8") as lines:
        if not any("projection" in json.loads(line) for line in lines):
            raise DiscretionError(
                f"{data}: no sample has scores: every answer lies beyond --max-length {asked.max_length}, or the "
                "model's template refuses the chats"
            )
    return Audited(rows, references, plan.layer, model.fingerprint)


def _identity(model: LocalModel, data: Path, asked: AuditSettings) -> dict[str, Any]:
    told = {name: str(value) if isinstance(value, Path) else value for name, value in vars(asked).items()}
    for of_no_matter in ("data_dir", "device", "dtype", "engine", "workers"):
        told.pop(of_no_matter)
    # What is in the files, not what they are called: a direction may have been found anew under its name.
    for name, path in (("data", data), ("direction", asked.direction), ("suite", Path(asked.suite))):
        if path is not None and path.is_file():
            with path.open("rb") as file:
                told[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return told | {"model": model.fingerprint, "engine": model.engine}


def _plan(model: LocalModel, base: str, out: Path, asked: AuditSettings, say: Say) -> Plan:
    path = out / "direction.safetensors"
    scenarios = choose(load_suite(asked.suite, data_dir=asked.data_dir), None)
    if asked.direction is not None:
        saved = load_direction(asked.direction)
        if saved.model != model.fingerprint:
            raise DiscretionError(f"{asked.direction}: was found in another model ({saved.facts.get('of', '?')})")
    elif path.is_file():
        saved = load_direction(path)
    else:
        contrasts = item_contrasts(scenarios)[: asked.units]
        say(f"The privacy direction, from {len(contrasts)} units of {asked.suite}")
        found = differences(model, contrasts)
        vectors = torch.tensor(found.direction, dtype=torch.float32)
        facts = {"suite": asked.suite, "units": str(len(contrasts)), "of": model.name}
        save_direction(path, vectors, best_layer(found.values, asked.seed), model.fingerprint, facts)
        saved = load_direction(path)
    return Plan(
        base,
        asked.device,
        asked.dtype,
        saved.layer,
        saved.vectors[saved.layer].tolist(),
        seed=asked.seed,
        own_tokens=asked.own,
        max_length=asked.max_length,
        questions=[(question, leaky) for _, question, leaky in leak_questions(scenarios)][: asked.questions]
        if asked.influence
        else [],
    )


def _references(asked: AuditSettings) -> dict[str, list[Chat]]:
    """Sets whose effect is known: helpful and control of our pairs, and GSM8K where it is at hand."""
    from discretion.corpus.controlled import controlled_pairs
    from discretion.corpus.public import prepare

    if not asked.reference:
        return {}
    pairs = controlled_pairs(asked.reference, asked.seed)
    sets = {
        "helpful": [pair.chat("helpful") for pair in pairs],
        "control": [pair.chat("control") for pair in pairs],
    }
    if asked.data_dir is not None:
        with suppress(DiscretionError):
            sets[GSM8K] = prepare(GSM8K, data_dir=asked.data_dir, n=asked.reference, seed=asked.seed).chats
    return sets


def _score(engine: Engine, chats: Iterable[Chat], path: Path, name: str, say: Say) -> None:
    """Append a row a chat to `path`; what is there already is not made again."""
    lines = AppendOnly(path)
    try:
        done, lines.text = lines.text.count("\n"), ""
        start, made = time.monotonic(), 0
        for rows in engine(_chunks(islice(iter(chats), done, None), done)):
            lines.append("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
            made += len(rows)
            say(f"  {name}: {done + made} samples, {made / max(time.monotonic() - start, 1e-9):.1f} a second")
    finally:
        lines.close()


def _chunks(chats: Iterator[Chat], first: int) -> Iterator[Chunk]:
    while chunk := list(islice(chats, _CHUNK)):
        yield Chunk(first, chunk)
        first += len(chunk)


def columns(path: Path) -> dict[str, "array[float]"]:
    """The rows of a score file as columns of numbers; NaN where a row has none."""
    found: dict[str, array[float]] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row: Row = json.loads(line)
            for name, value in row.items():
                column = found.setdefault(name, array("d", [math.nan]) * number)
                column.append(math.nan if value is None else value)
            for column in found.values():
                if len(column) <= number:
                    column.append(math.nan)
    return found
