"""Training data inside: conversational prompt/completion rows, as TRL takes them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_jsonl


class Turn(BaseModel):
    """One message of a chat."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class Chat(BaseModel):
    """A training sample: the loss is taken on the completion alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Annotated[tuple[Turn, ...], Field(min_length=1)]
    completion: Annotated[tuple[Turn, ...], Field(min_length=1)]


def read_chats(path: Path) -> list[Chat]:
    """Read JSONL chats.

    Raises:
        DiscretionError: a malformed line (its number and field are said), or none at all.
    """
    chats = []
    for number, row in read_jsonl(path):
        try:
            chats.append(Chat.model_validate(row))
        except ValidationError as error:
            raise wrong_field(f"{path}, line {number}", error) from error
    if not chats:
        raise DiscretionError(f"{path}: holds no chat")
    return chats
