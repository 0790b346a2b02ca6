"""The run folder's readable files, each written in one step. Model output is escaped wherever it stands."""

from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from jinja2 import Environment, PackageLoader, StrictUndefined

from discretion.files import write_json, write_jsonl, write_text
from discretion.report import content
from discretion.report.content import Report
from discretion.report.story import Story


def write_reports(report: Report, folder: Path) -> None:
    """Write verdict.json, leaks.jsonl, report.md, report.html and junit.xml into `folder`.

    Raises:
        DiscretionError: a file cannot be written.
    """
    write_json(folder / "verdict.json", report.verdict.model_dump(mode="json"))
    write_jsonl(folder / "leaks.jsonl", (leak._asdict() for leak in report.leaks))
    write_text(folder / "report.md", render("report.md.j2", report))
    write_text(folder / "report.html", render("report.html.j2", report))
    write_text(folder / "junit.xml", junit(report))


def write_story(story: Story, folder: Path) -> None:
    """Write several checks' story as report.md and report.html into `folder`.

    Raises:
        DiscretionError: a file cannot be written.
    """
    for name in ("md", "html"):
        filled = environment(name == "html").get_template(f"story.{name}.j2")
        write_text(folder / f"report.{name}", filled.render(story=story, change=content.change))


def render(template: str, report: Report) -> str:
    """A template filled with the report; HTML is escaped by Jinja, Markdown by `markdown_text`."""
    templates = environment(".html" in template)
    templates.filters["position"] = partial(_position, report)
    return templates.get_template(template).render(report=report, change=content.change)


def environment(escapes: bool) -> Environment:
    """Where templates are found; `escapes` for HTML."""
    templates = Environment(
        loader=PackageLoader("discretion.report"),
        autoescape=escapes,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "percent": content.percent,
        "signed": content.signed,
        "bounds": content.bounds,
        "md": markdown_text,
    }
    return templates


def markdown_text(text: object) -> str:
    """Text that cannot open a table cell, a link, a heading or HTML in Markdown."""
    flat = " ".join(str(text).split())
    for character in "\\`*_[]<>|#":
        flat = flat.replace(character, "\\" + character)
    return flat


def junit(report: Report) -> str:
    """JUnit XML for CI: one test case a suite; a flag is a failure, an undecided suite is skipped."""
    verdict = report.verdict
    suite = ElementTree.Element("testsuite", name="discretion", tests=str(len(verdict.suites)))
    for name, result in verdict.suites.items():
        case = ElementTree.SubElement(suite, "testcase", classname="discretion", name=_printable(name))
        numbers = "\n".join(f"{fact.name}: {fact.value}" for fact in report.facts(result))
        if result.verdict == "inconclusive":
            ElementTree.SubElement(case, "skipped", message="inconclusive")
        elif result.verdict != "preserved":
            ElementTree.SubElement(case, "failure", message=result.verdict).text = _printable(numbers)
        ElementTree.SubElement(case, "system-out").text = _printable(numbers)
    for kind, wanted in (("failures", {"collapse", "degraded", "regression"}), ("skipped", {"inconclusive"})):
        suite.set(kind, str(sum(result.verdict in wanted for result in verdict.suites.values())))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    return "".join(character for character in text if character in "\t\n" or character >= " ")


def _position(report: Report, value: float) -> float:
    """Where a difference lies on the plot's axis, 0 to 100."""
    reach = [3 * report.verdict.tau]
    for suite in report.verdict.suites.values():
        reach += [abs(bound) for bound in suite.delta_ci or (suite.delta or 0.0,)]
    return 50 + 48 * max(-1.0, min(1.0, value / max(reach)))
