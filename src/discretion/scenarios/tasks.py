"""Everyday tasks of our own, in CI-RL's format: a list of things, a message to write, what may go into it.

Easier than the built-in pairs (the task names what it is about, and two careful people agree on every item), so a
small model can keep this norm, and lose it. Written by model helpers from a brief, checked by machine.
"""

from importlib import resources
from pathlib import Path

from discretion.files import read_jsonl
from discretion.scenarios._types import Scenario
from discretion.scenarios.cirl import Half, halved, read_rows

SUITE = "tasks"


def load(half: Half | None = None) -> list[Scenario]:
    """The tasks, or one half of them, split by the hash of each."""
    path = Path(str(resources.files("discretion") / "scenarios" / "data" / "tasks.jsonl"))
    return halved(read_rows(((f"{path}, line {line}", row) for line, row in read_jsonl(path)), SUITE), half)
