"""Results of a long computation kept stage by stage, so that a stopped one goes on where it was."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from discretion.files import digest

Arrays = Mapping[str, NDArray[Any]]


class Stages:
    """A folder with a safetensors file a stage, each marked with what it depends on."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, which need not be there yet."""
        self.folder = folder

    def get(self, name: str, depends_on: object, make: Callable[[], Arrays]) -> Arrays:
        """The stage's arrays: as stored, if they depend on the same, else made and stored whole."""
        path, key = self.folder / f"{name}.safetensors", digest(depends_on)
        try:
            with safe_open(path, framework="np") as file:
                if (file.metadata() or {}).get("key") == key:
                    return {entry: file.get_tensor(entry) for entry in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):  # none yet, or a part of one
            pass
        arrays = {entry: np.ascontiguousarray(values) for entry, values in make().items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        save_file(arrays, unfinished, metadata={"key": key})
        unfinished.replace(path)
        return arrays
