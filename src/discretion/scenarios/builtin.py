"""The built-in suite: matched pairs of our own, one YAML file a domain in `data/builtin/`."""

import re
from importlib import resources
from pathlib import Path
from typing import Literal

from discretion.scenarios import userfile
from discretion.scenarios._types import Scenario


def load(half: Literal["dev", "test"] | None = None) -> list[Scenario]:
    """The built-in scenarios, or one half of them.

    Halves are split by pair: odd pair numbers are dev, even ones are test, so that every domain is in both
    and nothing tuned on dev has seen a fact of test.
    """
    folder = Path(str(resources.files("discretion") / "scenarios" / "data" / "builtin"))
    scenarios = [
        scenario.model_copy(update={"domain": path.stem})
        for path in sorted(folder.glob("*.yaml"))
        for scenario in userfile.load(path, suite="builtin")
    ]
    if half is None:
        return scenarios
    return [scenario for scenario in scenarios if _half(scenario.cluster) == half]


def _half(cluster: str) -> str:
    number = re.search(r"(\d+)$", cluster)
    return "dev" if number and int(number.group(1)) % 2 else "test"
