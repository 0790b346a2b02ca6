"""The everyday part of the norm corpus: what is known of a person, put together anew each time, for one recipient.

`settings` is deep and narrow (few situations, written as a whole); this is shallow and wide: any recipient, what they
need, and other things that are none of their business, as a list or in prose. A model that learned only settings
learns the settings.
"""

import random
import re
from collections.abc import Callable
from functools import cache
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from discretion.corpus.banks import lexicon, shipped
from discretion.corpus.grammar import realise
from discretion.corpus.settings import Situation, told
from discretion.scenarios import Flow, Item, Scenario, load_suite

_DAYS = ("Monday", "3 March", "Tuesday", "19 May", "Friday", "7 October", "Sunday", "12 June")
_DISTRACTORS = (2, 4)
_MORE = (0, 0, 1, 2, 3)  # how many of what the recipient may hear are asked for besides
_LIST, _SPEAKS, _NAMED, _TOLD = 0.5, 0.5, 0.7, 0.3


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class InformationType(_Strict):
    """One kind of information: how a list names it, how a sentence says it, and values ("#" is a digit)."""

    key: str
    say: Annotated[tuple[str, ...], Field(min_length=1)]
    pool: Annotated[tuple[str, ...], Field(min_length=2)]


class Recipient(_Strict):
    """Somebody to write to: types that they need, and types that they may hear, which are then left out."""

    to: str
    ask: Annotated[tuple[str, ...], Field(min_length=1)]
    needs: Annotated[tuple[str, ...], Field(min_length=1)]
    may: tuple[str, ...] = ()


class Everyday(_Strict):
    """The whole bank."""

    types: dict[str, InformationType]
    recipients: tuple[Recipient, ...]
    greetings: tuple[str, ...]
    closings: tuple[str, ...]
    sources: tuple[str, ...]
    filler: tuple[str, ...]
    over_ask: tuple[str, ...]
    wanted: tuple[str, ...]
    about: tuple[str, ...]
    lines: tuple[str, ...]

    @model_validator(mode="after")
    def _known(self) -> "Everyday":
        for recipient in self.recipients:
            if unknown := (set(recipient.needs) | set(recipient.may)) - set(self.types):
                raise ValueError(f"{recipient.to}: no such type {sorted(unknown)}")
        return self


@cache
def everyday() -> Everyday:
    """The bank that ships."""
    return Everyday.model_validate(shipped("everyday.yaml"))


def draw_everyday(rng: random.Random, *, name: str = "norms") -> Situation:
    """One situation: a person, four to ten facts, a recipient who needs some of them, and the message.

    What a recipient may hear without needing it is in the context only if they asked for it, and is then told.
    """
    bank, people = everyday(), rng.sample(lexicon()["person"], 3)
    subject, me, other = people
    full = f"{subject} {rng.choice(lexicon()['surname'])}"
    recipient = rng.choice(bank.recipients)
    free = [kind for kind in bank.types if kind not in recipient.needs and kind not in recipient.may]
    private = rng.sample(free, rng.randint(*_DISTRACTORS))
    asked_for = rng.sample(recipient.may, min(rng.choice(_MORE), len(recipient.may)))
    right = [*recipient.needs, *asked_for]
    kinds = [*right, *private]
    values = _values(kinds, bank, rng)
    facts = {
        kind: realise(rng.choice(bank.types[kind].say), {"name": subject, "v": values[kind]}, rng) for kind in kinds
    }
    facts = {kind: text[0].upper() + text[1:] for kind, text in facts.items()}
    order = rng.sample(kinds, len(kinds))
    named = rng.random() < _NAMED
    if rng.random() < _LIST:
        context = _listed(order, values, facts, full if named else "", bank, other, rng)
    else:
        context = _prose(order, facts, bank, other, rng)
        context = f"{realise(rng.choice(bank.about), {'full': full}, rng)}\n\n{context}" if named else context
    to = {"to": recipient.to, "name": subject}
    *most, last = (f"the {kind}" for kind in right)
    types = f"{', '.join(most)} and {last}"
    ways = bank.wanted if not asked_for else tuple(way for way in bank.wanted if way)
    asked = realise(rng.choice(ways), to | {"types": types}, rng)
    more = realise(rng.choice(bank.over_ask), to, rng) if rng.random() < _SPEAKS else ""
    items = tuple(Item(text=facts[kind], appropriate=kind in right, values=(values[kind],)) for kind in kinds)
    sentences = [told(context, items, [facts[kind] for kind in kinds])]
    if named:
        sentences.insert(0, realise(rng.choice(bank.about), {"full": full}, rng))
    return Situation(
        Scenario(
            id=name,
            suite="norms",
            domain="everyday",
            context_kind="notes",
            context="\n\n".join(part for part in (context, " ".join(filter(None, (asked, more)))) if part),
            instruction=realise(rng.choice(recipient.ask), to, rng),
            channel=rng.choice(("message", "email")),
            flow=Flow(
                sender=me,
                recipient=recipient.to,
                subject=subject,
                information_type=recipient.needs[0],
                transmission_principle="for what the recipient does",
            ),
            items=items,
            cluster=f"everyday {recipient.to}",
        ),
        "\n\n".join(
            (rng.choice(bank.greetings), " ".join(sentences), realise(rng.choice(bank.closings), {"me": me}, rng))
        ),
    )


def _values(kinds: list[str], bank: Everyday, rng: random.Random) -> dict[str, str]:
    """A value for each kind, none within another."""
    values: dict[str, str] = {}
    for kind in kinds:
        pool = rng.sample(bank.types[kind].pool, len(bank.types[kind].pool))
        drawn = (re.sub("#", lambda _: str(rng.randint(0, 9)), value) for value in pool)
        values[kind] = next(
            value
            for value in drawn
            if value.casefold() not in tested_values()
            and not any(value in known or known in value for known in values.values())
        )
    return values


@cache
def tested_values() -> frozenset[str]:
    """The values of the built-in suite's test half: what a taught model is tested on is not taught."""
    suite = load_suite("builtin:test")
    return frozenset(value.casefold() for scenario in suite for item in scenario.items for value in item.values)


def _listed(
    order: list[str],
    values: dict[str, str],
    facts: dict[str, str],
    full: str,
    bank: Everyday,
    other: str,
    rng: random.Random,
) -> str:
    """The facts a line each, keys in one of the ways that forms and programs write them; some as a sentence."""
    bullet, spelled = rng.choice(("- ", "* ", "", "")), rng.choice(_SPELLINGS)
    lines = [f"{bullet}{spelled(rng.choice(('Name', 'Full name')))}: {full}"] if full else []
    for kind in order:
        if rng.random() < _TOLD:
            head = realise(rng.choice(bank.lines), {"who": other}, rng)
            lines.append(f"{bullet}{spelled(head)}: {facts[kind]}")
        else:
            lines.append(f"{bullet}{spelled(bank.types[kind].key)}: {values[kind]}")
    return "\n".join(lines)


def _camel(key: str) -> str:
    return "".join(word[0].upper() + word[1:] for word in key.split())


def _snake(key: str) -> str:
    return key.lower().replace(" ", "_")


_SPELLINGS: tuple[Callable[[str], str], ...] = (str, str, _camel, _snake)


def _prose(order: list[str], facts: dict[str, str], bank: Everyday, other: str, rng: random.Random) -> str:
    """The facts as sentences in a few notes and mails, with something that does not matter here and there."""
    parts, rest = [], list(order)
    while rest:
        many = rng.randint(1, 3)
        parts.append(rest[:many])
        rest = rest[many:]
    written = []
    for part in parts:
        sentences = [facts[kind] for kind in part]
        if rng.random() < _SPEAKS:
            sentences.insert(rng.randrange(len(sentences) + 1), rng.choice(bank.filler))
        head = realise(rng.choice(bank.sources), {"who": other, "day": rng.choice(_DAYS)}, rng)
        quote = '"' if rng.random() < _SPEAKS else ""
        written.append(f"{head} {quote}{' '.join(sentences)}{quote}")
    return "\n\n".join(written)
