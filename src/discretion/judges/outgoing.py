"""What leaves: the part of a model's text that a recipient gets to see.

A message is sent as it is. An agent's final action is a thought, a tool's name and its input, of which only the
input's texts go out. Reading it never executes anything.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

# At a line's start, after the tool's name, or before an object; elsewhere they are words among others.
_INPUT = re.compile(
    r"(?:^[^\w\n]*|\baction\W{1,4}\w+\W{1,4})action\s*input\W|\baction\s*input\b[^\n{]{0,30}\s*(?=\{)", re.I | re.M
)
_THOUGHT = re.compile(r"^\W*thought\W.*?(?:\n|$)", re.I)
# Whom it goes to and how is not what it says.
_ADDRESS = re.compile(
    r"(?:to|cc|bcc|recipients?|channels?|emails?|privacy)(?:_?(?:names?|emails?|address(?:es)?|recipients?|settings?))*"
    r"|(?:.*_|recipient|channel)ids?",
    re.I,
)


def is_cut_in_thought(text: str) -> bool:
    """Whether the text ends inside a thought: nothing of it was said yet."""
    return "<think>" in text.rsplit("</think>", 1)[-1]


def outgoing(text: str) -> str:
    """The outgoing part of a message or of final actions.

    Reasoning before `</think>` and a `Thought:` line stay inside. Of a JSON action input, the string values count
    but for addresses; input that is no JSON counts whole.
    """
    said = text.rsplit("</think>", 1)[-1]
    _, *given = _INPUT.split(said)
    return "\n".join(map(_sent, given)) if given else _THOUGHT.sub("", said, count=1).strip()


def _sent(given: str) -> str:
    start = given.find("{")
    if start >= 0:
        try:
            value, _ = json.JSONDecoder(strict=False).raw_decode(given[start:])
        except (ValueError, RecursionError):
            pass
        else:
            if strings := [part for key, part in _strings(value) if not _ADDRESS.fullmatch(key)]:
                return "\n".join(strings)
    return given.replace("\\n", "\n").strip()


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _strings(part, str(name))
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part, key)
    elif isinstance(value, str):
        yield key, value
