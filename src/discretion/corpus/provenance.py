"""Where a file of chats comes from: a side file that says what made it, under which licence, from which parents."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from discretion.corpus.chat import Chat
from discretion.corpus.formats import Form, check_ending, write_chats
from discretion.errors import DiscretionError
from discretion.files import digest, read_json, write_json

UNKNOWN = "unknown"


def sidecar(path: Path) -> Path:
    """The side file's name: DATA.jsonl.provenance.json."""
    return path.with_name(path.name + ".provenance.json")


def refuse_to_replace(out: Path) -> None:
    """Stop before any work if the file to be written is there, or could not be written under its name.

    Raises:
        DiscretionError: it is, or could not.
    """
    check_ending(out)
    if out.exists() or sidecar(out).exists():
        raise DiscretionError(f"{out}: is there already; give another --out")


def fingerprint(samples: Sequence[Any]) -> str:
    """Equal for equal samples in equal order, in whatever shape and file they are."""
    return digest([sample.model_dump(mode="json") if isinstance(sample, BaseModel) else sample for sample in samples])


def licence_of_file(path: Path) -> str:
    """The licence that a file's own side file names, or its folder's."""
    for place in (sidecar(path), path.parent / "provenance.json"):
        if place.is_file():
            return str(read_json(place).get("licence", UNKNOWN))
    return UNKNOWN


def parent(name: str, licence: str, rows: Sequence[Any]) -> dict[str, Any]:
    """What a file that is made from this one says of it."""
    return {"file": name, "rows": len(rows), "licence": licence, "fingerprint": fingerprint(rows)}


def licence_of(parents: Sequence[Mapping[str, Any]]) -> str:
    """What a mixture is under: every parent's licence, each once."""
    return " and ".join(dict.fromkeys(str(entry["licence"]) for entry in parents))


def write_with_provenance(
    out: Path, chats: Sequence[Chat], made_by: str, licence: str, *, form: Form = "trl", **facts: Any
) -> None:
    """The chats, and their side file (no path and no time in it: equal seeds give equal bytes).

    Raises:
        DiscretionError: no chat is left, or a file cannot be written.
    """
    if not chats:
        raise DiscretionError(f"{out}: nothing is left to write")
    write_chats(out, chats, form)
    write_json(sidecar(out), origin(made_by, licence, len(chats), fingerprint(chats), facts))


def origin(made_by: str, licence: str, rows: int, fingerprint: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What every side file says."""
    from discretion import __version__

    told = {"made_by": made_by, "version": __version__, **facts, "rows": rows}
    return {**told, "licence": licence, "fingerprint": fingerprint}
