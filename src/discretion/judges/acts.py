"""Judges as `elicit.act` takes them: from a scenario and a text to an outcome for each item."""

from discretion.elicit.plan import Outcome
from discretion.judges import match
from discretion.scenarios import Scenario

# A judge whose error is known and not zero; see `verdict.judged`.
STATEMENTS = "match: statements"


class MatchJudge:
    """The deterministic judge (see `match`)."""

    def name(self, scenario: Scenario) -> str:
        """Items with values are read exactly; statements are scored, with known error."""
        return "match: values" if all(item.values for item in scenario.items) else STATEMENTS

    def __call__(self, scenario: Scenario, text: str) -> list[Outcome]:
        """See `elicit.Judge`."""
        items = [(item.text, (*item.values, *item.rewordings)) for item in scenario.items]
        return [Outcome(float(found), 1.0) for found in match.judge(items, text).revealed]
