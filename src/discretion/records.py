"""What was observed: `Record`, and the append-only file that holds them.

A record holds nothing that differs between two runs of the same work (no time, path or process id), so equal
runs give equal lines. All records of one context are written in one append; a kill at any byte can therefore
only leave an incomplete tail, which the next start cuts off.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from discretion.errors import DiscretionError
from discretion.files import canonical
from discretion.journal import AppendOnly, Journal

MIN_ANSWER_MASS = 0.01  # of the options' probability; below it, they are no answer


class Record(BaseModel):
    """One answer of one model to one question.

    Attributes:
        key: hash of everything that determines the answer (model, question, options, sampling).
        question: the same without the model; answers are paired on it.
        group: hash of the model and of all questions that share one context; they are asked together.
        group_size: how many records the group has.
        suite: the suite's or the control's name.
        condition: what else the numbers are kept apart by ("" unless a suite is asked in several ways).
        scenario, cluster, item, item_text, appropriate: from the `Scenario`; item is "" where one question
            stands for the whole scenario.
        model: the model's fingerprint.
        elicitation: "probe", "act" or "control".
        variant: protocol, option order, prompt style.
        sample: which sample, 0 where the answer is an exact probability.
        p_leak: probability, given that one of the two options is answered, of passing the item on. That
            is a leak where the item is inappropriate and coverage where it is appropriate. None: no answer.
        answer_mass: probability that the answer is one of the options. 1 - answer_mass is "unknown".
        p_correct: controls only: probability of the right option.
        logit_diff: log-probability of the safe option minus that of the leaky one (nats).
        helpfulness: how well the text does what was asked, 0 to 3; only a model judge says so.
        text: the generated text, where there is one. Untrusted.
        judge: what turned the answer into p_leak.
        error: why there is no answer; then every measurement is None.
        again: whether that was a call that failed, which may not fail again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    question: str
    group: str
    group_size: int
    suite: str
    condition: str = ""
    scenario: str
    cluster: str
    item: str = ""
    item_text: str = ""
    appropriate: bool | None = None
    model: str
    elicitation: str
    variant: Mapping[str, str] = {}
    sample: int = 0
    p_leak: float | None = None
    answer_mass: float | None = None
    p_correct: float | None = None
    logit_diff: float | None = None
    helpfulness: float | None = None
    text: str | None = None
    judge: str | None = None
    error: str | None = None
    again: bool = False

    def line(self) -> str:
        """The record as its line in `records.jsonl`."""
        return canonical(self.model_dump()) + "\n"


class RecordStore:
    """`records.jsonl`: append a group, ask which groups are complete.

    Opening cuts off an unfinished last line and drops groups that are not complete (a killed run's tail), and what a
    later answer took the place of; nothing else is ever rewritten. One process at a time may hold it.

    Attributes:
        texts: what models wrote, by draft, where it is to outlive a judge that fails.
    """

    def __init__(self, path: Path, *, ask_again: bool = False) -> None:
        """Open or create the file; with `ask_again`, a group with a call that failed counts as not asked.

        It stays until it is appended again, and its place is then the new one's.

        Raises:
            DiscretionError: it cannot be read or written, is damaged before its last line, or another
                process is writing to it.
        """
        self.texts: Journal | None = None
        self._lines = AppendOnly(path)
        try:
            lines = self._lines.text.split("\n")
            whole = _complete(list(enumerate(_parse(self._lines.text, path))))
            self._groups = {name: [record for _, record in group] for name, group in whole.items()}
            self._failed = {
                name for name, group in self._groups.items() if ask_again and any(record.again for record in group)
            }
            self._lines.keep("".join(f"{lines[place]}\n" for group in whole.values() for place, _ in group))
        except BaseException:
            self._lines.close()
            raise

    def __enter__(self) -> "RecordStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    def __contains__(self, group: str) -> bool:
        return group in self._groups and group not in self._failed

    def __len__(self) -> int:
        return sum(len(records) for records in self._groups.values())

    def group(self, group: str) -> list[Record]:
        """The records of a complete group."""
        return self._groups[group]

    def append(self, records: list[Record]) -> None:
        """Add one context's records, all or none.

        Raises:
            DiscretionError: they cannot be written (disk full); the file is as it was before.
        """
        self._lines.append("".join(record.line() for record in records))
        self._groups[records[0].group] = records
        self._failed.discard(records[0].group)


def read_records(path: Path) -> list[Record]:
    """The complete groups' records of a run that may still be going on; nothing is changed.

    Raises:
        DiscretionError: no such file, or it is damaged before its last line.
    """
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise DiscretionError(f"{path}: {error.strerror}") from error
    records = _parse(text[: text.rfind("\n") + 1], path)
    return [record for group in complete_groups(records).values() for record in group]


def complete_groups(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by group, without those of which some are missing; a later one takes an earlier one's place."""
    whole = _complete(list(enumerate(records)))
    return {name: [record for _, record in group] for name, group in whole.items()}


def _complete(numbered: Iterable[tuple[int, Record]]) -> dict[str, list[tuple[int, Record]]]:
    groups: dict[str, list[tuple[int, Record]]] = {}
    begun: dict[str, list[tuple[int, Record]]] = defaultdict(list)
    for place, record in numbered:
        begun[record.group].append((place, record))
        if len(begun[record.group]) == record.group_size:
            groups[record.group] = begun.pop(record.group)
    return groups


def _parse(text: str, path: Path) -> Iterator[Record]:
    # Not splitlines(): a model's text may hold U+2028 and its like, which JSON leaves as they are.
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        try:
            row: Any = json.loads(line)
            yield Record.model_validate(row)
        except (json.JSONDecodeError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise DiscretionError(f"{path}, line {number}: not a record ({reason})") from error
