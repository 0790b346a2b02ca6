"""A small text grammar: `<one|other>` is a choice, `{slot}` a name or a word that is the same throughout.

`{Slot}` is the slot with a capital first letter, `{sport.gear}` one field of a slot whose values are mappings.
A choice may be empty (`<|really >`) and may hold slots, but no other choice.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

_CHOICE = re.compile(r"<([^<>]*\|[^<>]*)>")
_SLOT = re.compile(r"\{([A-Za-z][a-z_0-9]*)(?:\.([a-z_0-9]+))?\}")

SlotValue = str | Mapping[str, str]


def realise(text: str, slots: Mapping[str, SlotValue], rng: random.Random) -> str:
    """One wording of `text`.

    Raises:
        KeyError: a slot that is not declared.
    """
    chosen = _CHOICE.sub(lambda match: rng.choice(match.group(1).split("|")), text)
    return _SLOT.sub(lambda match: _fill(match, slots), chosen).strip()


def wordings(text: str) -> list[str]:
    """Every choice's options and the text between choices, for checks that must see all of them."""
    return [part for match in _CHOICE.finditer(text) for part in match.group(1).split("|")]


def slot_names(text: str) -> set[str]:
    """The slots that `text` uses, in lower case, with their field where one is named."""
    return {
        match.group(1)[0].lower() + match.group(1)[1:] + (f".{match.group(2)}" if match.group(2) else "")
        for match in _SLOT.finditer(text)
    }


def draw(
    declared: Mapping[str, Any], lexicon: Mapping[str, Sequence[str]], rng: random.Random
) -> dict[str, SlotValue]:
    """A value for every declared slot: from its own list, or from the lexicon's list that it names.

    Two slots that name the same list get different values.
    """
    values: dict[str, SlotValue] = {}
    used: set[str] = set()
    for name, source in declared.items():
        pool = lexicon[source] if isinstance(source, str) else source
        free = [value for value in pool if not isinstance(value, str) or value not in used]
        value = rng.choice(free or list(pool))
        if isinstance(value, str):
            used.add(value)
        values[name] = value
    return values


def _fill(match: re.Match[str], slots: Mapping[str, SlotValue]) -> str:
    name, field = match.group(1), match.group(2)
    value = slots[name[0].lower() + name[1:]]
    word = value[field] if field and not isinstance(value, str) else value
    if not isinstance(word, str):
        raise KeyError(f"{name} needs a field")
    return word[0].upper() + word[1:] if name[0].isupper() else word
