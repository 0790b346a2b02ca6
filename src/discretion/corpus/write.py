"""Generated training data on disk: files whose bytes depend on their arguments alone, with their provenance."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from discretion.corpus.controlled import ControlledPair
from discretion.corpus.norms import NormSample
from discretion.corpus.provenance import origin
from discretion.corpus.writer import Order, Rejected
from discretion.errors import DiscretionError
from discretion.files import digest, read_jsonl, write_json, write_jsonl

PROVENANCE = "provenance.json"
CONTROLLED = ("helpful.jsonl", "control.jsonl", "pairs.jsonl", PROVENANCE)
REJECTED = "rejected.jsonl"
NORMS = ("norms.jsonl", "samples.jsonl", PROVENANCE)
LICENCE = "Apache-2.0"


def refuse_to_overwrite(out: Path, names: Sequence[str]) -> None:
    """Stop before any work if a file that would be written is there.

    Raises:
        DiscretionError: one is.
    """
    if taken := [name for name in names if (out / name).exists()]:
        raise DiscretionError(f"{out}: holds {', '.join(taken)} already; give another --out")


def write_controlled(pairs: Sequence[ControlledPair], out: Path, made_by: str, **facts: Any) -> None:
    """`helpful.jsonl` and `control.jsonl` (line n of each belongs together), `pairs.jsonl`, `provenance.json`.

    Raises:
        DiscretionError: the folder cannot be written.
    """
    for side in ("helpful", "control"):
        write_jsonl(out / f"{side}.jsonl", (pair.chat(side).model_dump(mode="json") for pair in pairs))
    rows = [pair._asdict() | {"prompt": [turn.model_dump(mode="json") for turn in pair.prompt]} for pair in pairs]
    write_jsonl(out / "pairs.jsonl", rows)
    _write_provenance(out, made_by, rows, facts)


def write_written(
    results: Iterable[tuple[Order, ControlledPair | Rejected]], out: Path, made_by: str, **facts: Any
) -> tuple[int, Counter[str]]:
    """What a writer made: the pairs as `write_controlled` does, `rejected.jsonl` with reasons beside them.

    Returns how many pairs there are, and how many answers were rejected for which reason. If there is no pair,
    nothing but `rejected.jsonl` is written.

    Raises:
        DiscretionError: the folder cannot be written.
    """
    taken = [result for _, result in results]
    pairs = [result for result in taken if isinstance(result, ControlledPair)]
    rejected = [result for result in taken if isinstance(result, Rejected)]
    counts = Counter(entry.reason for entry in rejected)
    if rejected:
        write_jsonl(out / REJECTED, (entry._asdict() for entry in rejected))
    if pairs:
        write_controlled(pairs, out, made_by, **facts, rejected=dict(sorted(counts.items())))
    return len(pairs), Counter[str](counts)


def write_norms(samples: Sequence[NormSample], out: Path, made_by: str, **facts: Any) -> None:
    """`norms.jsonl` (chats), `samples.jsonl` (line n says what line n of the chats is about), `provenance.json`.

    Raises:
        DiscretionError: the folder cannot be written.
    """
    chats = [sample.chat.model_dump(mode="json") for sample in samples]
    write_jsonl(out / "norms.jsonl", chats)
    write_jsonl(
        out / "samples.jsonl",
        (
            {
                "kind": sample.kind,
                "appropriate": sample.appropriate,
                "scenario": sample.scenario.model_dump(mode="json", exclude_defaults=True),
            }
            for sample in samples
        ),
    )
    _write_provenance(out, made_by, chats, facts)


def read_pairs(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder's `pairs.jsonl`.

    Raises:
        DiscretionError: missing or malformed.
    """
    path = folder / "pairs.jsonl"
    rows = []
    for number, row in read_jsonl(path):
        for name in ("prompt", "helpful", "control", "scenario_type", "pattern", "variation"):
            if not isinstance(row, dict) or name not in row:
                raise DiscretionError(f"{path}, line {number}, field {name}: missing")
        rows.append(row)
    if not rows:
        raise DiscretionError(f"{path}: holds no pair")
    return rows


def _write_provenance(out: Path, made_by: str, rows: Sequence[Any], facts: dict[str, Any]) -> None:
    write_json(out / PROVENANCE, origin(made_by, LICENCE, len(rows), digest(list(rows)), facts))
