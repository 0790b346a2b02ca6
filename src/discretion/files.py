"""Reading and writing small files so that a crash leaves the old one or the new one, never half of one."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from discretion.errors import DiscretionError


def canonical(value: Any) -> str:
    """JSON of `value` that is the same for equal values: sorted keys, no spaces, no NaN."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any, length: int = 16) -> str:
    """The first `length` hex digits of the SHA-256 of `value`'s canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step (temporary file beside it, then rename).

    Raises:
        DiscretionError: the file cannot be written (no space, no permission); the old one is kept.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as out:
            temporary = out.name
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise DiscretionError(f"cannot write {path}: {error.strerror or error}") from error


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Write one JSON object a line, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_text(path: Path) -> str:
    """The file's text.

    Raises:
        DiscretionError: it is missing, a folder, unreadable or not UTF-8.
    """
    with _readable(path):
        return path.read_text(encoding="utf-8-sig")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DiscretionError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise DiscretionError(f"{path}: is a folder, a file is needed") from error
    except UnicodeDecodeError as error:
        raise DiscretionError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise DiscretionError(f"{path}: {error.strerror}") from error


def read_json(path: Path) -> Any:
    """The file's JSON value.

    Raises:
        DiscretionError: missing or malformed; the message gives the line.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DiscretionError(f"{path}, line {error.lineno}: not valid JSON ({error.msg})") from error


def read_jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    """Each non-blank line's number (from 1) and value, one line in memory at a time.

    Raises:
        DiscretionError: the file cannot be read, or a line is not JSON; the message gives its number.
    """
    with _readable(path), path.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise DiscretionError(f"{path}, line {number}: not valid JSON ({error.msg})") from error
            yield number, value


def read_yaml(path: Path) -> Any:
    """The file's YAML value, None if it holds none.

    Raises:
        DiscretionError: missing or malformed; the message gives the line.
    """
    return read_yaml_lines(path)[0]


def read_yaml_lines(path: Path) -> tuple[Any, list[int]]:
    """The same, and the line of each entry if it is a list."""
    import yaml

    # libyaml, where PyYAML was built with it: ten times faster
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        reader = loader(read_text(path))
        node = reader.get_single_node()
        value = None if node is None else reader.construct_document(node)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that no calendar has
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        says = str(getattr(error, "problem", error)).partition("\n")[0]
        raise DiscretionError(f"{path}{where}: not valid YAML ({says})") from error
    lines = [child.start_mark.line + 1 for child in node.value] if isinstance(value, list) else []
    return value, lines


def refuse_other(folder: Path, marker: str, now: Mapping[str, Any], what: str) -> None:
    """Refuse a folder that `claim` has made that of another piece of work; nothing is written.

    Raises:
        DiscretionError: it is (what differs is named).
    """
    before = read_json(folder / marker)
    different = [name for name in now if name in before and before[name] != now[name]]
    if different or not set(before) & set(now):
        raise DiscretionError(
            f"{folder}: is of another {what} ({', '.join(different or ['all'])} differ); give another --out"
        )


def claim(folder: Path, marker: str, now: Mapping[str, Any], what: str, *, alone: bool = True) -> None:
    """Make `folder` that of one piece of work, told by `now`, so that it is gone on with and nothing else is.

    What an older version did not tell counts as the same.

    Raises:
        DiscretionError: it is of another piece of work (what differs is named), or `alone` and holds other files.
    """
    path = folder / marker
    if path.is_file():
        refuse_other(folder, marker, now, what)
    elif folder.exists() and (not folder.is_dir() or (alone and any(folder.iterdir()))):
        raise DiscretionError(f"{folder}: holds other files; give another --out")
    write_json(path, dict(now))
