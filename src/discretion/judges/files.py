"""`discretion judge`: which items does each text of a file reveal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_jsonl
from discretion.judges._types import Piece, Reader
from discretion.judges.acts import MatchJudge
from discretion.models import Failure
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


def judge_rows(path: Path, reader: Reader | None = None) -> Iterator[dict[str, Any]]:
    """The file's rows with `p_revealed` (0 to 1) and `revealed` on every item; whatever else they hold is kept.

    An item on which a model judge gives no answer has an `error` instead.

    Raises:
        DiscretionError: a malformed line (its number and field are said), or none at all.
    """
    reader = reader or MatchJudge()
    empty = True
    for number, raw in read_jsonl(path):
        empty = False
        try:
            row = _Row.model_validate(raw)
        except ValidationError as error:
            raise wrong_field(f"{path}, line {number}", error) from error
        pieces = [Piece(item.text, item.values) for item in row.items]
        answers = reader.p_revealed(pieces, row.text)
        yield {
            **raw,
            "items": [item | _said(answer, reader) for item, answer in zip(raw["items"], answers, strict=True)],
        }
    if empty:
        raise DiscretionError(f"{path}: holds no row")


def _said(answer: float | Failure, reader: Reader) -> dict[str, Any]:
    if isinstance(answer, Failure):
        return {"error": answer.reason}
    return {"p_revealed": round(answer, 6), "revealed": reader.revealed(answer)}
