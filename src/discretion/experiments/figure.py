"""An experiment's figure: the change of leak and of coverage for every part, with its interval, suite by suite."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from discretion.files import write_text
from discretion.settings import Thresholds

_WIDTH, _STEP = 320, 18
_COLOURS = {"leak": "#b3261e", "coverage": "#1c6e8c"}


def write_figure(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The rows of `table.rows` as an SVG; nothing is written if no suite is measured."""
    import altair
    import vl_convert

    rows = [point for row in found if row["kind"] == "suite" for point in _points(row)]
    if not rows:
        return
    data = altair.Data(values=rows)
    order = list(dict.fromkeys(row["part"] for row in rows))
    across = altair.X("difference:Q", title="tuned minus base", axis=altair.Axis(format="+.0%"))
    down = altair.Y("part:N", sort=order, title=None)
    colour = altair.Color(
        "what:N", title=None, scale=altair.Scale(domain=list(_COLOURS), range=list(_COLOURS.values()))
    )
    apart = altair.YOffset("what:N", sort=list(_COLOURS))
    intervals = altair.Chart(data).mark_rule(strokeWidth=2).encode(
        x=altair.X("low:Q", title="tuned minus base"), x2="high:Q", y=down, color=colour, yOffset=apart
    )  # fmt: skip
    points = altair.Chart(data).mark_point(filled=True, size=45).encode(x=across, y=down, color=colour, yOffset=apart)
    lines = altair.Chart(data).mark_rule(strokeDash=[4, 4], color="#60656c")
    zero, tau = (lines.encode(x=altair.XDatum(value)) for value in (0.0, Thresholds().tau))
    chart = (
        altair.layer(zero, tau, intervals, points)
        .properties(width=_WIDTH, height=altair.Step(_STEP))
        .facet(altair.Facet("suite:N", title=None, sort=list(dict.fromkeys(row["suite"] for row in rows))), columns=2)
        .resolve_scale(x="shared")
    )
    write_text(path, vl_convert.vegalite_to_svg(chart.to_json()) + "\n")


def _points(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    head = {"suite": row["suite"], "part": f"{row['row']} {row['seed']}"}
    points = []
    if row["delta"] is not None and row["delta_ci"]:
        low, high = row["delta_ci"]
        points.append(head | {"what": "leak", "difference": row["delta"], "low": low, "high": high})
    if row["coverage_ci"] and row["coverage_base"] is not None:
        low, high = row["coverage_ci"]
        change = row["coverage_tuned"] - row["coverage_base"]
        points.append(head | {"what": "coverage", "difference": change, "low": low, "high": high})
    return points
