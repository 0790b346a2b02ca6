"""Scenario files: JSONL or YAML, our own and anyone's. Every mistake is named by file, line and field."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_jsonl, read_yaml_lines
from discretion.scenarios._types import Scenario
from discretion.scenarios.pairs import Pair


def load(path: Path, suite: str | None = None) -> list[Scenario]:
    """Read scenarios from `path` (.jsonl, .yaml or .yml).

    A row is a `Scenario`, or a matched pair (a row with the key `pair`, see `scenarios/pairs.py`), which
    gives two. The suite's name is the file's, without its ending.

    Raises:
        DiscretionError: missing or malformed file, a wrong field, an id used twice, no scenario at all.
    """
    name = suite or path.stem
    scenarios: list[Scenario] = []
    seen: dict[str, str] = {}
    for place, row in rows(path):
        for scenario in parse(row, place, name):
            if scenario.id in seen:
                raise DiscretionError(f"{place}, field id: {scenario.id!r} is also in {seen[scenario.id]}")
            seen[scenario.id] = place.split(", ")[-1]
            scenarios.append(scenario)
    if not scenarios:
        raise DiscretionError(f"{path}: holds no scenario")
    return scenarios


def rows(path: Path) -> list[tuple[str, Any]]:
    """Each row's place ("FILE, line N") and value, unchecked. Raises as `load` does."""
    if path.suffix == ".jsonl":
        return [(f"{path}, line {number}", row) for number, row in read_jsonl(path)]
    if path.suffix in {".yaml", ".yml"}:
        return _yaml_rows(path)
    raise DiscretionError(f"{path}: a scenario file ends in .jsonl, .yaml or .yml")


def _yaml_rows(path: Path) -> list[tuple[str, Any]]:
    rows, lines = read_yaml_lines(path)
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise DiscretionError(f"{path}: a YAML scenario file is a list of scenarios")
    return [(f"{path}, line {line}", row) for line, row in zip(lines, rows, strict=True)]


def parse(row: Any, place: str, suite: str) -> list[Scenario]:
    """The scenarios of a row: one, or two of a pair. Raises as `load` does."""
    if not isinstance(row, dict):
        raise DiscretionError(f"{place}: a scenario is an object with named fields, not {type(row).__name__}")
    try:
        if "pair" in row:
            return Pair.model_validate(row).scenarios(suite)
        return [Scenario.model_validate({**row, "suite": suite})]
    except ValidationError as error:
        raise wrong_field(place, error) from error
