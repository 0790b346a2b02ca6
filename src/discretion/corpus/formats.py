"""Chats in the shapes that others use: TRL, OpenAI and Together, ShareGPT; as JSONL, Parquet or from the hub.

Whatever comes in becomes a `Chat`, whose last answer is what is learned; whatever goes out is made from one.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import ValidationError

from discretion.corpus.chat import Chat, Role, from_turns, one_turn
from discretion.errors import DiscretionError, wrong_field
from discretion.files import read_json, read_jsonl, write_jsonl

Form = Literal["trl", "messages", "sharegpt"]
FORMS: tuple[Form, ...] = ("trl", "messages", "sharegpt")
HUB = "hub:"
CONVERSATIONS = ("conversations", "conversation")  # ShareGPT's field

# ShareGPT's speakers, and the names that other sets give to them.
_SPEAKERS: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def read_chats(path: Path) -> list[Chat]:
    """Chats of a JSONL, JSON or Parquet file, in any of the shapes that `to_chat` knows.

    Raises:
        DiscretionError: a row that is no chat (its line and field are said), or none at all.
    """
    return list(iter_chats(path))


def iter_chats(path: Path) -> Iterator[Chat]:
    """The same, one in memory at a time."""
    place = ""
    for place, row in read_rows(str(path)):
        chat = to_chat(row, place)
        if isinstance(chat, str):
            raise DiscretionError(f"{place}: {chat}")
        yield chat
    if not place:
        raise DiscretionError(f"{path}: holds no chat")


def read_rows(source: str) -> Iterator[tuple[str, Any]]:
    """Rows and their places: of a .jsonl, .json or .parquet file, or of the hub: `hub:NAME[@CONFIGURATION][:SPLIT]`.

    Raises:
        DiscretionError: it cannot be read, or not be had from the hub.
    """
    if source.startswith(HUB):
        yield from _hub_rows(source.removeprefix(HUB))
        return
    path = Path(source)
    if path.suffix == ".parquet":
        for number, row in enumerate(_parquet_rows(path), start=1):
            yield f"{path}, row {number}", row
    elif path.suffix == ".json":
        rows = read_json(path)
        if not isinstance(rows, list):
            raise DiscretionError(f"{path}: a list of rows is needed")
        for number, row in enumerate(rows, start=1):
            yield f"{path}, row {number}", row
    else:
        for number, row in read_jsonl(path):
            yield f"{path}, line {number}", row


def to_chat(row: Any, place: str) -> Chat | str:
    """A row as a chat, or why it is none that could be learned from.

    Known are prompt/completion (turns or plain texts), `messages` (OpenAI, Together) and `conversations` (ShareGPT's
    `from`/`value` or `role`/`content`).

    Raises:
        DiscretionError: the row has another shape.
    """
    if not isinstance(row, dict):
        raise DiscretionError(f"{place}: an object is needed, not {type(row).__name__}")
    if "completion" in row:
        if isinstance(row.get("prompt"), str) and isinstance(row["completion"], str):
            return one_turn(row["prompt"], row["completion"])
        try:
            return Chat.model_validate({name: row[name] for name in ("prompt", "completion") if name in row})
        except ValidationError as error:
            raise wrong_field(place, error) from error
    for field in ("messages", *CONVERSATIONS):
        if field in row:
            return from_turns(read_turns(row[field], f"{place}, field {field}"))
    raise DiscretionError(f"{place}: neither prompt and completion, nor messages, nor conversations")


def from_chat(chat: Chat, form: Form) -> dict[str, Any]:
    """A chat in one of the shapes."""
    if form == "trl":
        return chat.model_dump(mode="json")
    if form == "messages":
        return {"messages": [turn.model_dump(mode="json") for turn in chat.turns]}
    return {"conversations": [{"from": _SHAREGPT[turn.role], "value": turn.content} for turn in chat.turns]}


def write_chats(path: Path, chats: Iterable[Chat], form: Form = "trl") -> None:
    """Write chats as JSONL, or as Parquet where the name says so; the file is there whole or not at all.

    Raises:
        DiscretionError: it cannot be written, or its name ends in something else.
    """
    check_ending(path)
    rows = [from_chat(chat, form) for chat in chats]
    if path.suffix == ".jsonl":
        write_jsonl(path, rows)
    else:
        _write_parquet(path, rows)


def check_ending(path: Path) -> None:
    """Refuse a name that `write_chats` would refuse.

    Raises:
        DiscretionError: it ends neither in .jsonl nor in .parquet.
    """
    if path.suffix not in {".jsonl", ".parquet"}:
        raise DiscretionError(f"{path}: the name must end in .jsonl or .parquet")


def read_turns(value: Any, place: str) -> list[tuple[Role, str]]:
    """Turns as OpenAI or ShareGPT write them, whose speakers' names are brought into one.

    Raises:
        DiscretionError: not a list of turns, or a turn without a known role and a text.
    """
    if isinstance(value, str):  # some Parquet exports hold JSON in a column
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DiscretionError(f"{place}: a list of turns is needed") from error
    if not isinstance(value, list):
        raise DiscretionError(f"{place}: a list of turns is needed")
    turns: list[tuple[Role, str]] = []
    for number, turn in enumerate(value):
        speaker = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
        said = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
        if not isinstance(speaker, str) or not isinstance(said, str):
            raise DiscretionError(f"{place}.{number}: a turn has a role and a content, both texts")
        if speaker.lower() not in _SPEAKERS:
            raise DiscretionError(f"{place}.{number}: the role {speaker!r} is unknown")
        turns.append((_SPEAKERS[speaker.lower()], said))
    return turns


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Row after row, so that memory does not grow with the file."""
    import pyarrow.parquet as parquet

    if not path.is_file():
        raise DiscretionError(f"{path}: no such file")
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(1024):
                yield from cast(list[dict[str, Any]], batch.to_pylist())
    except Exception as error:  # Arrow raises many kinds; all mean the same here
        raise DiscretionError(f"{path}: not a Parquet file ({str(error).partition(chr(10))[0]})") from error


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), unfinished)
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DiscretionError(f"cannot write {path}: {error.strerror or error}") from error


def _hub_rows(name: str) -> Iterator[tuple[str, Any]]:
    named, _, split = name.partition(":")
    repository, _, configuration = named.partition("@")
    load = _loader()
    try:
        rows = load(repository, configuration or None, split=split or "train", streaming=True)
        for number, row in enumerate(rows, start=1):
            yield f"{repository}, row {number}", row
    except DiscretionError:
        raise
    except Exception as error:  # the hub, the network and the data set each raise kinds of their own
        raise DiscretionError(
            f"{HUB}{repository}: not to be had ({type(error).__name__}: {str(error).partition(chr(10))[0][:200]})"
        ) from error


def _loader() -> Callable[..., Iterable[Any]]:
    from datasets import load_dataset

    return cast(Callable[..., Iterable[Any]], load_dataset)
