"""discretion: find out whether a fine-tune taught a language model to pass on what it should keep.

>>> from discretion import check                                          # doctest: +SKIP
>>> check("smollm2-135m", "path/to/adapter", suites=["builtin"], out="run").verdict  # doctest: +SKIP

Importing this package is cheap: torch and the other heavy parts load when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["DiscretionError", "Flow", "Item", "Scenario", "check", "load_suite"]

_HOMES = {
    "DiscretionError": "discretion.errors",
    "Flow": "discretion.scenarios",
    "Item": "discretion.scenarios",
    "Scenario": "discretion.scenarios",
    "load_suite": "discretion.scenarios",
    "check": "discretion.gate",
}

if TYPE_CHECKING:
    from discretion.errors import DiscretionError
    from discretion.gate import check
    from discretion.scenarios import Flow, Item, Scenario, load_suite


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'discretion' has no attribute {name!r}")
