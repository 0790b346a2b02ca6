"""The page of a search for mitigations: what each leaks against what of the task it keeps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from discretion.files import write_json, write_text
from discretion.report.figures import front
from discretion.report.files import environment


def write_mitigation(found: Mapping[str, Any], folder: Path) -> None:
    """Write mitigate.json and report.html into `folder`.

    Raises:
        DiscretionError: a file cannot be written.
    """
    write_json(folder / "mitigate.json", dict(found))
    filled = environment(escapes=True).get_template("mitigate.html.j2")
    # Made here from numbers and our own names; everything else is escaped.
    drawn = Markup(front(found["front"]))
    write_text(folder / "report.html", filled.render(found=found, drawn=drawn))
