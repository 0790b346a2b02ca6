"""Settings of the norm-teaching corpus, in `data/norms/`: facts, and who may be told which of them.

A setting is somebody with several facts at hand, and several recipients that need some of them each. What is right
for one recipient is wrong for another, so no fact is private or public by itself. No setting, domain or entity is
the built-in suite's. A setting with slots is drawn many times; a case (`data/norms/cases/`) has its context written
out, so it is one situation for each recipient.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from discretion.corpus.banks import lexicon, read_bank
from discretion.corpus.grammar import SlotValue, draw, realise
from discretion.judges.tokens import tokens
from discretion.scenarios import Flow, Item, Scenario
from discretion.scenarios._types import ContextKind, Text

_DATA = resources.files("discretion") / "corpus" / "data" / "norms"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class SettingFact(_Strict):
    """A fact: as the context holds it, as a statement, and as a message tells it.

    Attributes:
        type: the information type, as contextual integrity calls it ("dietary need").
        note: how it stands in the context; holds every value. A case has none: its context holds them.
        text: the fact as a statement: `Item.text`.
        tell: one or two sentences that a message tells it with; holds every value.
        values: what gives it away.
    """

    type: Text
    note: str = ""
    text: Text
    tell: Text
    values: Annotated[tuple[Text, ...], Field(min_length=1)]


class SettingRecipient(_Strict):
    """Somebody to write to, and the facts (from 0) that they need for what they do.

    Attributes:
        principle: the transmission principle: what the facts are passed on for.
        mail: what the recipient wrote, if it is in the context; may ask for more than is right.
    """

    to: Text
    principle: Text
    channel: Text
    ask: Text
    greeting: Text
    closing: Text
    needs: Annotated[tuple[int, ...], Field(min_length=1)]
    mail: str = ""
    why: Text


class Setting(_Strict):
    """One setting, still with its choices and slots (see `grammar`).

    Attributes:
        context: a case's, as it stands; without it the facts' notes are the context.
    """

    setting: Text
    domain: Text
    slots: dict[str, str | tuple[str | dict[str, str], ...]] = {}
    sender: Text
    subject: Text
    kind: ContextKind = "notes"
    context: str = ""
    facts: Annotated[tuple[SettingFact, ...], Field(min_length=4)]
    recipients: Annotated[tuple[SettingRecipient, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _whole(self) -> "Setting":
        for number, recipient in enumerate(self.recipients):
            if any(not 0 <= index < len(self.facts) for index in recipient.needs):
                raise ValueError(f"recipients.{number}.needs names a fact that is not there: {list(recipient.needs)}")
            if len(set(recipient.needs)) == len(self.facts):
                raise ValueError(f"recipients.{number}.needs everything: nothing would be kept back")
        if bare := [number for number, fact in enumerate(self.facts) if bool(fact.note) == bool(self.context)]:
            raise ValueError(f"facts {bare} need a note each, or the setting a context instead")
        unknown = [name for name in self.slots.values() if isinstance(name, str) and name not in lexicon()]
        if unknown:
            raise ValueError(f"slots name lists that the lexicon lacks: {unknown}")
        return self


class Situation(NamedTuple):
    """One reading of a setting for one recipient, and a message that tells what they need and nothing else.

    Attributes:
        tells: for each item the sentence that tells it where the context's own words do not.
    """

    scenario: Scenario
    message: str
    tells: tuple[str, ...] = ()


@cache
def settings() -> tuple[Setting, ...]:
    """The settings that are drawn many times, by file name and place."""
    return _shipped("*.yaml")


@cache
def cases() -> tuple[Setting, ...]:
    """The cases, by file name and place."""
    return _shipped("cases/*.yaml")


def _shipped(pattern: str) -> tuple[Setting, ...]:
    paths = sorted(Path(str(_DATA)).glob(pattern))
    return tuple(setting for path in paths for setting in read_settings(path))


def read_settings(path: Path) -> list[Setting]:
    """The settings of one file.

    Raises:
        DiscretionError: a malformed setting (its number and field are said).
    """
    return read_bank(path, "setting", Setting.model_validate)


def draw_situation(setting: Setting, recipient: int, rng: random.Random, *, name: str = "norms") -> Situation:
    """One reading: slots filled, choices taken, the context's lines in random order."""
    to, slots = setting.recipients[recipient], draw(setting.slots, lexicon(), rng)
    context = setting.context.strip() or _noted(setting, to, slots, rng)
    items = tuple(
        Item(
            text=realise(fact.text, slots, rng),
            appropriate=index in to.needs,
            values=tuple(realise(value, slots, rng) for value in fact.values),
        )
        for index, fact in enumerate(setting.facts)
    )
    tells = [realise(fact.tell, slots, rng) for fact in setting.facts]
    parts = [realise(to.greeting, slots, rng), told(context, items, tells), realise(to.closing, slots, rng)]
    return Situation(
        Scenario(
            id=name,
            suite="norms",
            domain=setting.domain,
            context_kind=setting.kind,
            context=context,
            instruction=realise(to.ask, slots, rng),
            channel=to.channel,
            flow=Flow(
                sender=realise(setting.sender, slots, rng),
                recipient=realise(to.to, slots, rng),
                subject=realise(setting.subject, slots, rng),
                information_type=setting.facts[to.needs[0]].type,
                transmission_principle=realise(to.principle, slots, rng),
            ),
            items=items,
            cluster=setting.setting,
            why=realise(to.why, slots, rng),
        ),
        "\n\n".join(parts),
        tuple(tells),
    )


def told(context: str, items: Sequence[Item], tells: Sequence[str]) -> str:
    """The appropriate items, each in the context's own words where a clause of it tells that item and little besides.

    A small model learns whom to tell what much sooner if the telling is copying. A clause that says something which
    neither statement nor `tell` says, or speaks as another, is not taken; then `tell` is. The order is the context's.
    """
    private = [value.casefold() for item in items if not item.appropriate for value in item.values]
    clauses = [part for part in _clauses(context) if not any(value in part.casefold() for value in private)]
    found: dict[str, int] = {}
    for item, tell in zip(items, tells, strict=True):
        if item.appropriate:
            fit = [clause for clause in clauses if _tells(clause, item, tell)]
            place = context.casefold().find(item.values[0].casefold())
            found.setdefault(max(fit, key=len, default=tell), place)
    return " ".join(sorted(found, key=lambda sentence: found[sentence]))


_MOST_BESIDE = 2  # stems
_SPEAKS = frozenset(("i", "i'm", "i've", "i'd", "i'll", "my", "me", "mine", "we", "our", "us", "you", "your"))
_BULLET = re.compile(r"^(?:[-*#•]|\(?\d{1,2}[.)])?\s*(?:Observation:\s*)?")
_END = re.compile(
    r"(?<=[.!?])(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bSt\.)(?<!\bNo\.)(?<!\bProf\.)"
    r"[\"']?\s+(?=[\"'(]?[A-Z0-9])"
)
_JOINTS = re.compile(r"(?:;|,|:| -)\s+(?:(?:and|but|so|because|which|who|as|then)\s+)?")
_CODE = re.compile(r"[{}\[\]=<>|_]|Action:|\w\(")


def _tells(clause: str, item: Item, tell: str) -> bool:
    low = clause.casefold()
    if not all(value.casefold() in low for value in item.values):
        return False
    if (_SPEAKS & set(re.findall(r"[\w']+", low))) - set(re.findall(r"[\w']+", tell.casefold())):
        return False
    return len(_stems(clause) - _stems(f"{tell} {item.text}")) <= _MOST_BESIDE


def _stems(text: str) -> set[str]:
    return {token.stem for token in tokens(text)}


def _clauses(context: str) -> Iterator[str]:
    """The context's sentences, and their parts from one joint to another, as a message can hold them."""
    for line in context.splitlines():
        for sentence in _END.split(_BULLET.sub("", line.strip())):
            parts = _JOINTS.split(sentence)
            for part in dict.fromkeys((sentence, *parts)):
                words = part.strip().strip("\"'").strip()
                if words.count('"') % 2:
                    words = words.replace('"', "")
                if words and not _CODE.search(words):
                    whole = words[0].upper() + words[1:]
                    yield whole if whole[-1] in ".!?" else whole.rstrip(",;:") + "."


def _noted(setting: Setting, to: SettingRecipient, slots: dict[str, SlotValue], rng: random.Random) -> str:
    lines = [realise(fact.note, slots, rng) for fact in setting.facts]
    rng.shuffle(lines)
    bullet = rng.choice(("- ", "* ", "", ""))
    parts = ["\n".join(f"{bullet}{line}" for line in lines)]
    if to.mail:
        parts.insert(rng.randrange(2), realise(to.mail, slots, rng))
    return "\n\n".join(parts)


def faults(setting: Setting, draws: int = 12) -> list[str]:
    """What breaks a setting's promises in any of `draws` readings for each recipient."""
    found: dict[str, None] = {}
    for number in range(len(setting.recipients)):
        for seed in range(draws):
            try:
                drawn = draw_situation(setting, number, random.Random(seed))
            except (KeyError, IndexError) as error:
                return [f"cannot be drawn: slot {error}"]
            found |= dict.fromkeys(_broken(setting, number, drawn))
    times = Counter(index for recipient in setting.recipients for index in set(recipient.needs))
    swayed = sorted(index for index, count in times.items() if count < len(setting.recipients))
    if 2 * len(swayed) < len(setting.facts):
        found[f"only facts {swayed} are right for one recipient and wrong for another (want half)"] = None
    return list(found)


def _broken(setting: Setting, number: int, drawn: Situation) -> Iterator[str]:
    scenario, asked = drawn.scenario, drawn.scenario.instruction.casefold()
    tells = [tell.casefold() for tell in drawn.tells]
    needed = (tell for tell, item in zip(tells, scenario.items, strict=True) if item.appropriate)
    said = " ".join((drawn.message.casefold(), *needed))
    for index, (fact, item) in enumerate(zip(setting.facts, scenario.items, strict=True)):
        others = " ".join(other.text for other in scenario.items if other is not item).casefold()
        for written, value in zip(fact.values, item.values, strict=True):
            place, low = f"fact {index}, value {written}", value.casefold()
            if low not in scenario.context.casefold():
                yield f"{place}: not in its note"
            if low not in item.text.casefold():
                yield f"{place}: not in its text"
            if low in asked or low in setting.recipients[number].mail.casefold():
                yield f"{place}: in recipient {number}'s ask or mail"
            if low not in tells[index] or (item.appropriate and low not in drawn.message.casefold()):
                yield f"{place}: not in every tell"
            if not item.appropriate and low in said:
                yield f"{place}: told to recipient {number}, who must not have it"
            if low in others:
                yield f"{place}: in another fact's text too"
    texts = [scenario.context, asked, said, *(item.text for item in scenario.items)]
    plain = texts[1:] if setting.context else texts  # a case's context may hold an agent's JSON
    if any(sign in text for sign in "{}|" for text in plain):
        yield "a brace or a bar is left over"
