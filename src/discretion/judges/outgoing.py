"""What leaves: the part of a model's text that a recipient gets to see.

A message is sent as it is. An agent's final action is a thought, a tool's name and its input, of which only the
input's texts go out. Reading it never executes anything.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

_INPUT = re.compile(r"action\s*input\W", re.I)
_THOUGHT = re.compile(r"^\W*thought\W.*?(?:\n|$)", re.I)
# Whom it goes to and how is not what it says.
_ADDRESS = re.compile(r"^(to|cc|bcc)$|_id$|recipient|channel|privacy|email", re.I)


def is_cut_in_thought(text: str) -> bool:
    """Whether the text ends inside a thought: nothing of it was said yet."""
    return "<think>" in text.rsplit("</think>", 1)[-1]


def outgoing(text: str) -> str:
    """The outgoing part of a message or final action.

    Reasoning before `</think>` and a `Thought:` line stay inside. Of a JSON action input, the string values count
    but for addresses; input that is no JSON counts whole.
    """
    said = text.rsplit("</think>", 1)[-1]
    marked = _INPUT.search(said)
    if not marked:
        return _THOUGHT.sub("", said, count=1).strip()
    given = said[marked.end() :]
    start = given.find("{")
    if start >= 0:
        try:
            value, _ = json.JSONDecoder(strict=False).raw_decode(given[start:])
        except (ValueError, RecursionError):
            pass
        else:
            if strings := [part for key, part in _strings(value) if not _ADDRESS.search(key)]:
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
