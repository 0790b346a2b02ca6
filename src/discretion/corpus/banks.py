"""Banks of hand-written material (scenes, settings) and the lists of words that their slots name."""

from collections.abc import Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_yaml

Entry = TypeVar("Entry", bound=BaseModel)


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
    return read_yaml(Path(str(resources.files("discretion") / "corpus" / "data" / name)))


def read_bank(path: Path, noun: str, parse: Callable[[dict[str, Any]], Entry]) -> list[Entry]:
    """The entries of a YAML list.

    Raises:
        DiscretionError: not such a list, or a malformed entry (its number and field are said).
    """
    rows = read_yaml(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DiscretionError(f"{path}: must be a list of {noun}s")
    read = []
    for number, row in enumerate(rows, start=1):
        try:
            read.append(parse(row))
        except ValidationError as error:
            raise wrong_field(f"{path}, {noun} {number}", error) from error
    return read
