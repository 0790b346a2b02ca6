"""An explanation's pictures as SVG, by Altair: lines over layers with their intervals, and a plane of points."""

from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH, _HEIGHT = 560, 240
_COLOURS = ["#1c6e8c", "#b3261e", "#7a6f00", "#60656c"]
Values = Sequence[float | None]


def over_layers(series: Mapping[str, Mapping[str, Values]], title: str, rules: Sequence[float] = (0.0,)) -> str:
    """Lines over layers, one a name: `mean` (or `raw`), with a band from `low` to `high` where they are given."""
    import altair

    rows = [
        {"layer": layer, "what": name, "value": value, "low": low, "high": high}
        for name, told in series.items()
        for layer, (value, low, high) in enumerate(_columns(told))
        if value is not None
    ]
    data = altair.Data(values=rows)
    x = altair.X("layer:Q", title="layer", axis=altair.Axis(tickMinStep=1))
    scale = altair.Scale(domain=list(series), range=_COLOURS[: len(series)])
    colour = altair.Color("what:N", title=None, scale=scale)
    band = altair.Chart(data).mark_area(opacity=0.18).encode(
        x=x, y=altair.Y("low:Q", title=title), y2="high:Q", color=colour
    )  # fmt: skip
    line = altair.Chart(data).mark_line(strokeWidth=2).encode(x=x, y=altair.Y("value:Q", title=title), color=colour)
    dashed = altair.Chart(data).mark_rule(strokeDash=[4, 4], color="#60656c")
    return _svg(_sized(altair.layer(*(dashed.encode(y=altair.YDatum(rule)) for rule in rules), band, line)))


def doses(found: Mapping[str, Any]) -> str:
    """Answers under doses of the direction, base and tuned, with intervals."""
    import altair

    rows = [
        {"dose": dose, "what": role, "value": at["mean"][0], "low": at["low"][0], "high": at["high"][0]}
        for role, answers in found["answers"].items()
        for dose, at in zip(found["doses"], answers, strict=True)
    ]
    data = altair.Data(values=rows)
    x = altair.X("dose:Q", title="times the direction")
    colour = altair.Color("what:N", title=None, scale=altair.Scale(domain=["base", "tuned"], range=_COLOURS[:2]))
    title = "safe less leaky logit"
    rule = altair.Chart(data).mark_rule().encode(x=x, y=altair.Y("low:Q", title=title), y2="high:Q", color=colour)
    line = altair.Chart(data).mark_line(point=True).encode(x=x, y=altair.Y("value:Q", title=title), color=colour)
    return _svg(_sized(altair.layer(rule, line)))


def plane(points: Sequence[Mapping[str, Any]]) -> str:
    """Units' differences in a plane of principal components."""
    import altair

    data = altair.Data(values=list(points))
    scale = altair.Scale(domain=["base", "tuned"], range=_COLOURS[:2])
    chart = altair.Chart(data).mark_circle(size=40, opacity=0.7).encode(
        x=altair.X("x:Q", title="first component"),
        y=altair.Y("y:Q", title="second component"),
        color=altair.Color("model:N", title=None, scale=scale),
    )  # fmt: skip
    return _svg(_sized(chart))


def _columns(told: Mapping[str, Values]) -> list[tuple[float | None, float | None, float | None]]:
    middle = told["mean"] if "mean" in told else told["raw"]
    low, high = told.get("low", middle), told.get("high", middle)
    return list(zip(middle, low, high, strict=True))


def _sized(chart: Any) -> Any:
    return chart.properties(width=_WIDTH, height=_HEIGHT)


def _svg(chart: Any) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart.to_json()))


def front(found: Sequence[Mapping[str, Any]]) -> str:
    """Mitigations by their held-out loss (left is better), and what they leak (down) and pass on rightly (up)."""
    import altair

    shown = ("leak", "coverage") if all(row["coverage"] is not None for row in found) else ("leak",)
    rows = [{name: row[name] for name in ("name", "loss", "equivalent", *shown)} for row in found]
    data = altair.Data(values=rows)
    x = altair.X("loss:Q", title="held-out loss, nats a token", scale=altair.Scale(zero=False))
    scale = altair.Scale(domain=[True, False], range=_COLOURS[:2])
    colour = altair.Color("equivalent:N", title="task kept", scale=scale)
    panels = []
    for what in shown:
        y = altair.Y(f"{what}:Q", title=what, axis=altair.Axis(format="%"), scale=altair.Scale(zero=True))
        points = altair.Chart(data).mark_circle(size=70).encode(x=x, y=y, color=colour)
        names = altair.Chart(data).mark_text(align="left", dx=7).encode(x=x, y=y, text="name:N")
        panels.append(_sized(altair.layer(points, names)))
    return _svg(altair.vconcat(*panels))
