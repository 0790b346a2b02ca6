"""Append-only files that survive a kill at any byte: what is whole stays, an incomplete tail is cut off."""

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from discretion.errors import DiscretionError
from discretion.files import canonical, write_text

_AT_ONCE = 1 << 30  # bytes


class AppendOnly:
    """A text file of lines that is only ever added to, by one process at a time.

    Attributes:
        text: the whole lines that it held when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file; an unfinished last line is cut off.

        Raises:
            DiscretionError: it cannot be read or written, or another process is writing to it.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open()
            try:
                data = self._read()
                whole = data[: data.rfind(b"\n") + 1]
                if len(whole) < len(data):
                    os.ftruncate(self._file, len(whole))
            except BaseException:
                os.close(self._file)
                raise
        except OSError as error:
            raise DiscretionError(f"cannot write {path}: {error.strerror}") from error
        self.text = whole.decode("utf-8", "replace")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def append(self, text: str) -> None:
        """Add whole lines, all or none.

        Raises:
            DiscretionError: they cannot be written (disk full); the file is as it was before.
        """
        data = text.encode()
        before = os.fstat(self._file).st_size
        try:
            self._write(data)
        except OSError as error:
            os.ftruncate(self._file, before)
            raise DiscretionError(
                f"cannot write {self.path}: {error.strerror}; what was recorded so far is kept, go on with --resume"
            ) from error
        except BaseException:  # Ctrl-C between two writes: half of it is worse than none
            os.ftruncate(self._file, before)
            raise

    def keep(self, text: str) -> None:
        """Make `text`, some of the lines that it holds, all that it holds.

        Raises:
            DiscretionError: it cannot be written, or another process came first; the lines are there still.
        """
        data = text.encode()
        try:
            if len(data) == os.fstat(self._file).st_size:
                return
            if self._read().startswith(data):
                os.ftruncate(self._file, len(data))
                return
            write_text(self.path, text)
            before, self._file = self._file, self._open()
            os.close(before)
        except OSError as error:
            raise DiscretionError(f"cannot write {self.path}: {error.strerror}") from error

    def _write(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            written += os.write(self._file, data[written:])

    def _read(self) -> bytes:
        """All of it; the system gives 2 GiB at a time."""
        parts, place = [], 0
        while part := os.pread(self._file, _AT_ONCE, place):
            parts.append(part)
            place += len(part)
        return b"".join(parts)

    def _open(self) -> int:
        """The file, locked."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock(file)
        except BaseException:
            os.close(file)
            raise
        return file

    def _lock(self, file: int) -> None:
        try:
            import fcntl
        except ImportError:  # Windows has no advisory locks of this kind
            return
        taken = f"{self.path}: another process is writing to it"
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DiscretionError(taken) from error
        # It may have been replaced (`keep`) between the opening and the lock.
        if not os.path.samestat(os.fstat(file), os.stat(self.path)):
            raise DiscretionError(taken)


class Journal:
    """Answers by key, on disk as soon as they are given: what was paid for once is never asked again."""

    def __init__(self, path: Path) -> None:
        """Open or create it.

        Raises:
            DiscretionError: it cannot be opened, or a line other than the last is damaged.
        """
        self._lines = AppendOnly(path)
        self._known: dict[str, Any] = {}
        for number, line in enumerate(self._lines.text.split("\n")[:-1], start=1):
            try:
                row = json.loads(line)
                self._known[row["key"]] = row["value"]
            except (ValueError, KeyError, TypeError) as error:
                self._lines.close()
                raise DiscretionError(f"{path}, line {number}: not an entry of this journal ({error})") from error

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Any:
        return self._known[key]

    def get(self, key: str) -> Any:
        """The entry, or None."""
        return self._known.get(key)

    def add(self, key: str, value: Any) -> None:
        """Write an entry down."""
        self._lines.append(canonical({"key": key, "value": value}) + "\n")
        self._known[key] = value
