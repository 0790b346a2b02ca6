"""Public files: a local copy under `--data-dir`, or a pinned download into the user's cache."""

import sys
from pathlib import Path
from typing import NamedTuple

from discretion.errors import DiscretionError


class Source(NamedTuple):
    """A public file.

    Attributes:
        local: its path under a `--data-dir` laid out as in docs/method.md.
        url: the pinned address it is fetched from.
        sha256: the checksum of what is fetched; "" where the address itself pins the content.
        licence: shown when it is fetched.
    """

    local: str
    url: str
    sha256: str
    licence: str


def locate(source: Source, data_dir: Path | None, *, download: bool = True) -> Path:
    """Where the file is on this machine, fetching and checking it if need be.

    With `data_dir` the local copy is read as it is, without a checksum (users cut and extend them). With
    `download=False` only what is already here counts.

    Raises:
        DiscretionError: not in `data_dir`, or it could not be fetched, or its checksum differs.
    """
    if data_dir is not None:
        path = data_dir / source.local
        if not path.is_file():
            raise DiscretionError(f"{path}: no such file (--data-dir wants {source.local} in it)")
        return path
    cached = cache_folder() / "data" / source.local
    if cached.is_file():
        return cached
    if not download:
        raise DiscretionError(f"{source.local} is not on this machine")
    return _fetch(source, cached)


def cache_folder() -> Path:
    """The user's cache folder for this program (`DISCRETION_CACHE` overrides it)."""
    import os

    import platformdirs

    return Path(os.environ.get("DISCRETION_CACHE") or platformdirs.user_cache_dir("discretion"))


def _fetch(source: Source, cached: Path) -> Path:
    import pooch

    sys.stderr.write(f"fetching {source.url} (licence: {source.licence})\n")
    pooch.get_logger().setLevel("ERROR")
    try:
        pooch.retrieve(
            source.url,
            known_hash=f"sha256:{source.sha256}" if source.sha256 else None,
            fname=cached.name,
            path=cached.parent,
        )
    except ValueError as error:
        raise DiscretionError(f"{source.url}: what was fetched is not the pinned file (checksum differs)") from error
    except Exception as error:  # requests raises many kinds; all mean the file is not to be had now
        raise DiscretionError(
            f"cannot fetch {source.url} ({type(error).__name__}); "
            f"give a local copy with --data-dir DIR, holding {source.local}"
        ) from error
    return cached
