"""`discretion judge`: which items does each text of a file reveal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_jsonl
from discretion.judges import match
from discretion.scenarios._types import Text


class _Item(BaseModel):
    model_config = ConfigDict(extra="allow")

    text: Text
    values: tuple[Text, ...] = ()


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: str | int
    text: str
    items: tuple[_Item, ...]


def judge_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The file's rows with `p_revealed` (0 to 1) and `revealed` on every item; whatever else they hold is kept.

    Raises:
        DiscretionError: a malformed line (its number and field are said), or none at all.
    """
    empty = True
    for number, raw in read_jsonl(path):
        empty = False
        try:
            row = _Row.model_validate(raw)
        except ValidationError as error:
            raise wrong_field(f"{path}, line {number}", error) from error
        found = match.judge([(item.text, item.values) for item in row.items], row.text)
        items = [
            item | {"p_revealed": round(probability, 6), "revealed": revealed}
            for item, probability, revealed in zip(raw["items"], found.p_revealed, found.revealed, strict=True)
        ]
        yield {**raw, "items": items}
    if empty:
        raise DiscretionError(f"{path}: holds no row")
