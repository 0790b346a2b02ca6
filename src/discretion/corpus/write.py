"""Generated training data on disk: files whose bytes depend on their arguments alone."""

from pathlib import Path

from discretion.corpus.controlled import ControlledPair
from discretion.errors import DiscretionError
from discretion.files import read_jsonl, write_json, write_jsonl

FILES = ("helpful.jsonl", "control.jsonl", "pairs.jsonl", "provenance.json")


def write_controlled(pairs: list[ControlledPair], out: Path, *, seed: int) -> None:
    """`helpful.jsonl` and `control.jsonl` (line n of each belongs together), `pairs.jsonl`, `provenance.json`.

    Raises:
        DiscretionError: the folder cannot be written.
    """
    from discretion import __version__
    from discretion.files import digest

    for side in ("helpful", "control"):
        write_jsonl(out / f"{side}.jsonl", (pair.chat(side).model_dump(mode="json") for pair in pairs))
    rows = [_row(pair) for pair in pairs]
    write_jsonl(out / "pairs.jsonl", rows)
    write_json(
        out / "provenance.json",
        {
            "made_by": f"discretion data controlled --n {len(pairs)} --seed {seed}",
            "version": __version__,
            "seed": seed,
            "rows": len(pairs),
            "licence": "Apache-2.0",
            "fingerprint": digest(rows),
        },
    )


def read_pairs(folder: Path) -> list[dict[str, object]]:
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


def _row(pair: ControlledPair) -> dict[str, object]:
    row: dict[str, object] = pair._asdict()
    row["prompt"] = [turn.model_dump(mode="json") for turn in pair.prompt]
    return row
