"""Which option a text chose, as the paper parses it."""

import re
from typing import Literal


def parse_choice(text: str) -> Literal["A", "B"] | None:
    """The one of A and B that stands alone in the text ("(B)", "B.", "B"), or None for neither or both.

    Case matters: "a" is an article. This is the rule of the paper's evaluation script; text after the
    first blank line is not read differently, so an answer that argues with both letters is unknown.
    """
    letters = set(re.findall(r"\b([AB])\b", text))
    if letters == {"A"}:
        return "A"
    if letters == {"B"}:
        return "B"
    return None
