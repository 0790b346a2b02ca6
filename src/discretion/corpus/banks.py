"""Banks of hand-written material (scenes, settings) and the lists of words that their slots name."""

from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_text

Entry = TypeVar("Entry", bound=BaseModel)
# libyaml, where PyYAML was built with it: ten times faster
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def lexicon() -> dict[str, list[str]]:
    """Lists of words that slots name: persons, cities, clock times ..."""
    loaded: dict[str, list[str]] = shipped("lexicon.yaml")
    return loaded


@cache
def narratives() -> dict[str, list[list[str]]]:
    """Parts of a made-up person's profile, each with its wordings."""
    loaded: dict[str, list[list[str]]] = shipped("profiles.yaml")
    return loaded


def shipped(name: str) -> Any:
    """What a YAML file of this package's data holds."""
    return yaml.load(read_text(Path(str(resources.files("discretion") / "corpus" / "data" / name))), _LOADER)


def read_bank(path: Path, noun: str, parse: Callable[[dict[str, Any]], Entry]) -> list[Entry]:
    """The entries of a YAML list.

    Raises:
        DiscretionError: not such a list, or a malformed entry (its number and field are said).
    """
    try:
        rows = yaml.load(read_text(path), _LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise DiscretionError(f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)})") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DiscretionError(f"{path}: must be a list of {noun}s")
    read = []
    for number, row in enumerate(rows, start=1):
        try:
            read.append(parse(row))
        except ValidationError as error:
            raise wrong_field(f"{path}, {noun} {number}", error) from error
    return read
