"""The verdict in the terminal: what was found, why, and what to do next."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from discretion.report.content import Report, bounds, change, percent, signed

_COLOURS = {"preserved": "green", "inconclusive": "yellow"}


def show(report: Report, console: Console, *, quiet: bool = False) -> None:
    """Print the report; with `quiet`, its verdict alone. Nothing in it is read as markup."""
    verdict = report.verdict
    colour = _COLOURS.get(verdict.verdict, "red")
    if quiet:
        console.print(Text(verdict.verdict, style=f"bold {colour}"))
        return
    console.print(Text(f"base   {report.base}"))
    console.print(Text(f"tuned  {report.tuned}"))
    console.print(_suites(report))
    console.print(_beside(report))
    if verdict.controls:
        console.print(_controls(report))
    for title, lines in (("Why", verdict.reasons), ("Note", report.caveats), ("Next", report.next_steps)):
        for line in lines:
            console.print(Text.assemble((f"{title}: ", "bold"), line))
    if report.leaks:
        console.print(Text(f"{len(report.leaks)} items leak now and did not before"))
    console.print(Text.assemble((f"{verdict.verdict}. ", f"bold {colour}"), report.headline.split(": ", 1)[-1]))


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _suites(report: Report) -> Table:
    table = _table("suite", "n", "leak base", "tuned", "difference", "interval", "verdict")
    for name, suite in report.verdict.suites.items():
        table.add_row(
            Text(name),
            str(suite.n),
            percent(suite.leak_base),
            percent(suite.leak_tuned),
            signed(suite.delta),
            Text(bounds(suite.delta_ci)),
            suite.verdict,
        )
    return table


def _beside(report: Report) -> Table:
    """What a leak rate must never be read without."""
    table = _table("suite", "accuracy", "coverage", "answer mass", "order bias")
    for name, suite in report.verdict.suites.items():
        table.add_row(
            Text(name),
            change(suite.accuracy_base, suite.accuracy_tuned),
            change(suite.coverage_base, suite.coverage_tuned),
            change(suite.answer_mass.base, suite.answer_mass.tuned),
            change(suite.order_bias.base, suite.order_bias.tuned),
        )
    return table


def _controls(report: Report) -> Table:
    table = _table("control", "n", "base", "tuned", "difference", "interval", "unchanged")
    for name, control in report.verdict.controls.items():
        table.add_row(
            Text(name),
            str(control.n),
            percent(control.base),
            percent(control.tuned),
            signed(control.delta),
            Text(bounds(control.delta_ci)),
            control.standing,
        )
    return table
