"""Preference pairs: a prompt, the answer to learn and the one to leave, as DPO takes them."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from discretion.corpus.chat import Turn
from discretion.corpus.formats import read_rows
from discretion.errors import DiscretionError, wrong_field


class Preference(BaseModel):
    """Two answers to one prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[tuple[Turn, ...], Field(min_length=1)]
    chosen: Annotated[tuple[Turn, ...], Field(min_length=1)]
    rejected: Annotated[tuple[Turn, ...], Field(min_length=1)]


def read_preferences(path: Path) -> list[Preference]:
    """Rows with `prompt`, `chosen` and `rejected`, each a list of turns.

    Raises:
        DiscretionError: a malformed row (its line and field are said), or none at all.
    """
    pairs = []
    for place, row in read_rows(str(path)):
        try:
            pairs.append(Preference.model_validate(row))
        except ValidationError as error:
            raise wrong_field(place, error) from error
    if not pairs:
        raise DiscretionError(f"{path}: holds no preference pair")
    return pairs
