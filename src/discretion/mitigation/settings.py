"""What a search for mitigations tries, and how it measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from discretion.errors import DiscretionError
from discretion.mitigation.candidates import DEFAULTS, NONE, SEARCHED, parse, steps


@dataclass(frozen=True)
class MitigateSettings:
    """What is tried, and how it is measured.

    Attributes:
        tries: mitigations by name (`candidates`); `none` is always among them.
        budget: minutes after which no other mitigation is begun; None: all are tried.
        held_out: share of the data that is kept to measure the task on.
        limit: scenarios of the suite that chooses; test_limit: of the one that reports, None: all.
        margin: of what the unmitigated tune gains in held-out loss, how much a mitigation may lose.
        fall: by how much coverage may be below the base's on the suite that chooses.
    """

    tries: Sequence[str] = DEFAULTS
    suite: str = "tasks:dev"
    test: str = "tasks:test"
    limit: int = 48
    test_limit: int | None = None
    max_new_tokens: int = 110
    controls: Sequence[str] = ("questions",)
    held_out: float = 0.15
    margin: float = 0.2
    fall: float = 0.05
    alpha: float = 0.05
    seed: int = 0
    data_dir: Path | None = None
    budget: float | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in SEARCHED:
                parse(name)
        if self.budget is not None and not self.budget > 0:
            raise DiscretionError(f"--budget {self.budget}: must be above 0")
        if not 0 < self.held_out < 1:
            raise DiscretionError(f"--held-out {self.held_out}: must be above 0 and below 1")
        if not 0 < self.margin < 1:
            raise DiscretionError(f"--margin {self.margin}: must be above 0 and below 1")
        if self.suite == self.test:
            raise DiscretionError(f"--test {self.test}: must be another suite than the one that chooses")
        for option, limit in (("--limit", self.limit), ("--test-limit", self.test_limit)):
            if limit is not None and limit < 2:
                raise DiscretionError(f"{option} {limit}: must be at least 2")

    @property
    def names(self) -> list[str]:
        """What is tried, in order: the unmitigated tune first, and what a mitigation is made of before it."""
        return list(dict.fromkeys([NONE, *(name for tried in self.tries for name in steps(tried))]))
