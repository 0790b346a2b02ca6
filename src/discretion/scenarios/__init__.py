"""What is asked: every suite becomes a list of `Scenario`.

A new suite is one module with a `load()` and a line in `SUITES`.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from discretion.errors import DiscretionError
from discretion.scenarios._types import Agent, Flow, Item, Scenario

__all__ = ["LANGUAGES", "SUITES", "Agent", "Flow", "Item", "Scenario", "choose", "load_suite"]

_Loader = Callable[[Path | None], list[Scenario]]


def _builtin(half: Literal["dev", "test"] | None, language: str = "en") -> _Loader:
    def load(_: Path | None) -> list[Scenario]:
        from discretion.scenarios import builtin

        return builtin.load(half, language)

    return load


def _privacylens(level: Literal["seed", "vignette", "trajectory"]) -> _Loader:
    def load(data_dir: Path | None) -> list[Scenario]:
        from discretion.scenarios import privacylens

        return privacylens.load(level, data_dir=data_dir)

    return load


def _cimemories(level: Literal[1, 2, 3, 4], *, example: bool = False) -> _Loader:
    def load(data_dir: Path | None) -> list[Scenario]:
        from discretion.scenarios import cimemories

        return cimemories.load_example(level) if example else cimemories.load(level, data_dir=data_dir)

    return load


LEVELS: tuple[Literal[1, 2, 3, 4], ...] = (1, 2, 3, 4)
LANGUAGES = ("de", "es", "fr", "zh")


def _cirl(half: Literal["dev", "test"] | None) -> _Loader:
    def load(data_dir: Path | None) -> list[Scenario]:
        from discretion.scenarios import cirl

        return cirl.load(half, data_dir=data_dir)

    return load


def _tasks(half: Literal["dev", "test"] | None) -> _Loader:
    def load(_: Path | None) -> list[Scenario]:
        from discretion.scenarios import tasks

        return tasks.load(half)

    return load


def _confaide(tier: Literal["1", "2a", "2b", "3", "4"] | None) -> _Loader:
    def load(data_dir: Path | None) -> list[Scenario]:
        from discretion.scenarios import confaide

        return confaide.load(tier, data_dir=data_dir)

    return load


SUITES: dict[str, _Loader] = {
    "builtin": _builtin(None),
    "builtin:dev": _builtin("dev"),
    "builtin:test": _builtin("test"),
    **{f"builtin:{language}": _builtin(None, language) for language in LANGUAGES},
    **{f"builtin:{language}:dev": _builtin("dev", language) for language in LANGUAGES},
    **{f"builtin:{language}:test": _builtin("test", language) for language in LANGUAGES},
    "tasks": _tasks(None),
    "tasks:dev": _tasks("dev"),
    "tasks:test": _tasks("test"),
    "cirl": _cirl(None),
    "cirl:dev": _cirl("dev"),
    "cirl:test": _cirl("test"),
    "cimemories": _cimemories(1),
    **{f"cimemories:{level}": _cimemories(level) for level in LEVELS},
    "cimemories:example": _cimemories(1, example=True),
    **{f"cimemories:example:{level}": _cimemories(level, example=True) for level in LEVELS},
    "confaide": _confaide(None),
    "confaide:1": _confaide("1"),
    "confaide:2a": _confaide("2a"),
    "confaide:2b": _confaide("2b"),
    "confaide:3": _confaide("3"),
    "confaide:4": _confaide("4"),
    "privacylens": _privacylens("trajectory"),
    "privacylens:seed": _privacylens("seed"),
    "privacylens:vignette": _privacylens("vignette"),
    "privacylens:trajectory": _privacylens("trajectory"),
}


def load_suite(name: str, *, data_dir: Path | None = None) -> list[Scenario]:
    """The scenarios of a named suite, or of a file (.jsonl, .yaml; .json in the format of PrivacyLens or CIMemories).

    Raises:
        DiscretionError: no such suite or file, or its content is malformed.
    """
    if name in SUITES:
        return SUITES[name](data_dir)
    path = Path(name)
    if path.suffix not in {".jsonl", ".yaml", ".yml", ".json"}:
        known = ", ".join(SUITES)
        raise DiscretionError(f"no suite {name!r}; known: {known}, or the path of a .jsonl or .yaml file")
    if path.suffix == ".json":
        from discretion.scenarios import cimemories, privacylens

        if cimemories.holds_memories(path):
            return cimemories.load_file(path)
        return privacylens.load_file(path, suite=path.stem)
    from discretion.scenarios import userfile

    return userfile.load(path)


def choose(scenarios: list[Scenario], limit: int | None) -> list[Scenario]:
    """At most `limit` scenarios, in an order that is shuffled but always the same.

    The order is that of a hash of each scenario's cluster, so a smaller limit is a prefix of a larger one,
    adding scenarios moves none of the others, and what belongs together stands together. Where all clusters have one
    size, as matched pairs have, none is split, unless not even one is within the limit.
    """
    from discretion.files import digest

    order = sorted(scenarios, key=lambda scenario: (digest(scenario.cluster), scenario.id))
    if limit is None:
        return order
    sizes = set(Counter(scenario.cluster for scenario in order).values())
    beyond = limit % sizes.pop() if len(sizes) == 1 else 0
    return order[: limit - beyond or limit]
