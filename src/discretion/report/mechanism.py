"""The page of an explanation: each picture with what may be concluded from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from discretion.files import write_text
from discretion.mechanism.conclusions import conclusions
from discretion.report.figures import doses, over_layers, plane
from discretion.report.files import environment


def write_explanation(found: Mapping[str, Any], folder: Path) -> None:
    """Write report.html into `folder`.

    Raises:
        DiscretionError: it cannot be written.
    """
    lens, separation = found["lens"], found["separation"]
    privacy, layers = found["cosine"]["privacy"], found["layers"]
    cosines = {
        name: {"mean": both["corrected"], "low": both["corrected_low"], "high": both["corrected_high"]}
        for name, both in found["cosine"].items()
    }
    cosines["how well halves agree"] = {"mean": privacy["ceiling"]}
    now = {role: found["lens"][role]["mean"][-1] for role in ("base", "tuned")}
    pictures = {
        "lens": over_layers({"base": lens["base"], "tuned": lens["tuned"]}, "safe less leaky logit"),
        "mass": over_layers(
            {role: {"mean": lens[role]["mass"]} for role in ("base", "tuned")}, "both options' probability"
        ),
        "separation": over_layers(
            {role: {"mean": separation[role]["effect"]} for role in separation}, "effect on held-out units"
        ),
        "cosine": over_layers(cosines, "cosine without noise, base and tuned", (0.0, 1.0)),
        "plane": plane(found["plane"]),
        "doses": doses(found["causal"]),
        "patched": over_layers(
            {
                "base's stream put in": found["causal"]["patched"],
                **{f"{role} as it is": {"mean": [value] * layers} for role, value in now.items()},
            },
            "safe less leaky logit",
        ),
    }
    filled = environment(escapes=True).get_template("explain.html.j2")
    # The pictures are made here from numbers and our own words, so they are markup; everything else is escaped.
    drawn = {name: Markup(svg) for name, svg in pictures.items()}
    write_text(folder / "report.html", filled.render(found=found, drawn=drawn, said=conclusions(found)))
