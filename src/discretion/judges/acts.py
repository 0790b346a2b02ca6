"""The deterministic judge as `elicit.act` takes it: from a scenario and a text to an outcome for each item."""

from collections.abc import Sequence

from discretion.elicit.plan import Outcome
from discretion.judges import match
from discretion.judges._types import Piece
from discretion.scenarios import Scenario

# A judge whose error is known and not zero; see `verdict.judged`.
STATEMENTS = "match: statements"


class MatchJudge:
    """The deterministic judge (see `match`)."""

    whole = False

    def name(self, scenario: Scenario) -> str:
        """Items with values are read exactly; statements are scored, with known error."""
        return "match: values" if all(item.values for item in scenario.items) else STATEMENTS

    def __call__(self, scenario: Scenario, text: str) -> list[Outcome]:
        """See `elicit.Judge`."""
        pieces = [Piece(item.text, (*item.values, *item.rewordings)) for item in scenario.items]
        return [Outcome(float(self.revealed(found)), 1.0) for found in self.p_revealed(pieces, text)]

    def p_revealed(self, pieces: Sequence[Piece], text: str) -> tuple[float, ...]:
        """See `Reader`."""
        return match.judge(pieces, text).p_revealed

    def revealed(self, probability: float) -> bool:
        """See `Reader`."""
        return match.is_revealed(probability)
