"""What a judge is asked of a text: `Piece`s, put to a `Reader`."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from discretion.models import Failure


class Piece(NamedTuple):
    """What a text is checked for: a statement, and the short values that give it away."""

    text: str
    values: tuple[str, ...] = ()


class Reader(Protocol):
    """Reads what texts reveal."""

    def p_revealed(self, pieces: Sequence[Piece], text: str) -> Sequence[float | Failure]:
        """For each piece the probability that the text reveals it, or why there is none."""
        ...

    def revealed(self, probability: float) -> bool:
        """The judge's word on such a probability."""
        ...
