"""The deterministic judge as `elicit.act` takes it: from a scenario and a text to an outcome for each item."""

from collections.abc import Sequence

from discretion.elicit.plan import Outcome
from discretion.judges import match
from discretion.judges._types import Piece
from discretion.scenarios import Scenario

VALUES = "match: values"
# A judge whose error is known and not zero; see `verdict.judged`.
STATEMENTS = "match: statements"


class MatchJudge:
    """The deterministic judge (see `match`)."""

    whole = False

    def name(self, scenario: Scenario) -> str:
        """Part of what records are found by, so it stays what it was; how an item was read, its outcome says."""
        return VALUES if all(item.values for item in scenario.items) else STATEMENTS

    def __call__(self, scenario: Scenario, text: str) -> list[Outcome]:
        """See `elicit.Judge`; each outcome names how its item was read."""
        pieces = _pieces(scenario)
        return [
            Outcome(float(self.revealed(found)), 1.0, judge=_reading(piece))
            for piece, found in zip(pieces, self.p_revealed(pieces, text), strict=True)
        ]

    def p_revealed(self, pieces: Sequence[Piece], text: str) -> tuple[float, ...]:
        """See `Reader`."""
        return match.judge(pieces, text).p_revealed

    def revealed(self, probability: float) -> bool:
        """See `Reader`."""
        return match.is_revealed(probability)


def _pieces(scenario: Scenario) -> list[Piece]:
    return [Piece(item.text, (*item.values, *item.rewordings)) for item in scenario.items]


def _reading(piece: Piece) -> str:
    return VALUES if match.is_exact(piece.values) else STATEMENTS
