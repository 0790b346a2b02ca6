"""The built-in suite: matched pairs of our own.

`data/builtin/DOMAIN.yaml` holds the English ones, `data/builtin/languages/LANGUAGE.yaml` some of them as they would
occur, and with the norms that hold, where that language is spoken.
"""

import re
from importlib import resources
from pathlib import Path
from typing import Literal

from discretion.scenarios import userfile
from discretion.scenarios._types import Scenario

Half = Literal["dev", "test"]


def load(half: Half | None = None, language: str = "en") -> list[Scenario]:
    """The built-in scenarios of a language, or one half of them.

    Halves are split by pair: odd pair numbers are dev, even ones are test, so that every domain is in both
    and nothing tuned on dev has seen a fact of test, in any language.
    """
    folder = Path(str(resources.files("discretion") / "scenarios" / "data" / "builtin"))
    if language == "en":
        scenarios = [
            scenario.model_copy(update={"domain": path.stem})
            for path in sorted(folder.glob("*.yaml"))
            for scenario in userfile.load(path, suite="builtin")
        ]
    else:
        scenarios = userfile.load(folder / "languages" / f"{language}.yaml", suite="builtin")
    return [scenario for scenario in scenarios if half in (None, _half(scenario.cluster))]


def _half(cluster: str) -> str:
    number = re.search(r"(\d+)$", cluster)
    return "dev" if number and int(number.group(1)) % 2 else "test"
