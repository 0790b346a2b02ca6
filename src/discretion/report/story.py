"""Several checks of one base as one page: what each tune did, and what the models wrote before and after it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from discretion.records import Record
from discretion.report.content import Report

_SHOWN = 3


class Told(NamedTuple):
    """An item that is passed on now and was not before, with both messages."""

    scenario: str
    instruction: str
    item: str
    before: str
    after: str


@dataclass(frozen=True)
class Chapter:
    """One tune: its name, what it was tuned on, and its check.

    Attributes:
        link: the check's own report, from the page's folder.
        told: examples of what leaks now and did not before.
    """

    name: str
    about: str
    report: Report
    link: str
    told: tuple[Told, ...] = ()


@dataclass(frozen=True)
class Story:
    """The page: what it is about, its chapters, what sets them apart, and the command that makes it again."""

    title: str
    lead: str
    chapters: Sequence[Chapter]
    apart: str
    command: str

    @property
    def caveats(self) -> list[str]:
        """Every chapter's, each once."""
        return list(dict.fromkeys(line for chapter in self.chapters for line in chapter.report.caveats))


def examples(report: Report, records: Iterable[Record], instructions: Mapping[str, str]) -> tuple[Told, ...]:
    """The first leaks of the report that have both messages, one a scenario; instructions by scenario."""
    base, tuned = report.info.model("base").fingerprint, report.info.model("tuned").fingerprint
    texts = {(row.scenario, row.model): row.text for row in records if row.elicitation == "act" and row.text}
    found: dict[str, Told] = {}
    for leak in report.leaks:
        before, after = texts.get((leak.scenario, base)), texts.get((leak.scenario, tuned))
        if before and after and leak.scenario not in found:
            told = instructions.get(leak.scenario, "")
            found[leak.scenario] = Told(leak.scenario, told, leak.text, before, after)
    return tuple(found.values())[:_SHOWN]
