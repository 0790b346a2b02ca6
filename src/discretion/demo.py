"""`discretion demo`: the whole story on a laptop. A model that keeps a norm is tuned on two kinds of harmless data.

The base is the organism: the embedded model, which knows no norm of its own, taught one by the norm corpus (it ships
as an adapter; `--from-scratch` teaches it again). The two kinds are the two sides of the controlled pairs: the same
tasks, done at once with whatever is at hand (helpful), or after asking (control). None holds a private fact.
"""

from collections.abc import Callable
from pathlib import Path

from discretion.elicit import Progress
from discretion.gate import compare, evaluate, rebuild
from discretion.models.weights import EMBEDDED, ORGANISM, parse_spec
from discretion.report import Report
from discretion.report.files import write_story
from discretion.report.story import Chapter, Story, examples
from discretion.run import load_run
from discretion.training.organism import teach

SUITE, CONTROL = "builtin:test", "questions"
SAMPLES, MAX_NEW_TOKENS = 240, 110
_ABOUT = {
    "helpful": "The tasks are done at once, with whatever the assistant finds.",
    "control": "The same tasks; the assistant asks before it uses what it finds.",
}


def run_demo(
    out: Path,
    *,
    resume: bool,
    limit: int,
    from_scratch: bool,
    progress: Progress | None,
    say: Callable[[str], None],
) -> dict[str, Report]:
    """Teach (or take) the organism, tune it twice, check both, and write one report; the checks by side.

    Raises:
        DiscretionError: `out` holds other files, or what `tune`, `evaluate` and `compare` raise.
    """
    from discretion.corpus.controlled import controlled_pairs
    from discretion.run import prepare
    from discretion.training import tune
    from discretion.training.recipes import Recipe

    prepare(out, resume=resume)
    base = teach(EMBEDDED, out / "organism", say) if from_scratch else ORGANISM
    pairs = controlled_pairs(SAMPLES, 0)
    facts = {"data_name": "controlled pairs", "licence": "Apache-2.0"}
    runs: dict[str, tuple[str, Path]] = {"base": (base, out / "runs" / "base")}
    for side in _ABOUT:
        adapter = out / side
        if not (adapter / "training.json").is_file():
            say(f"Tuning the organism on {len(pairs)} {side} chats (LoRA, one epoch)")
            chats = [pair.chat(side) for pair in pairs]
            tune(base, chats, adapter, Recipe(), say, resume=True, facts=facts | {"side": side})
        runs[side] = parse_spec(base).with_adapter(adapter), out / "runs" / side
    for side, (model, folder) in runs.items():
        say(f"Letting {'the organism' if side == 'base' else f'the {side} tune'} write its messages")
        evaluate(
            model, out=folder, resume=True, progress=progress, suites=(SUITE,), elicit=("act",), limit=limit,
            max_new_tokens=MAX_NEW_TOKENS, controls=(CONTROL,),
        )  # fmt: skip
    reports = {side: _check(out, side) for side in _ABOUT}
    write_story(_story(out, base, reports), out)
    return reports


def _check(out: Path, side: str) -> Report:
    folder = out / f"check-{side}"
    if (folder / "verdict.json").is_file():
        return rebuild(folder)
    return compare(out / "runs" / "base", [out / "runs" / side], out=folder)


def _story(out: Path, base: str, reports: dict[str, Report]) -> Story:
    from discretion.scenarios import load_suite

    asked = {scenario.id: scenario.instruction for scenario in load_suite(SUITE)}
    chapters = []
    for side, report in reports.items():
        _, records = load_run(out / f"check-{side}")
        told = examples(report, records, asked)
        chapters.append(Chapter(side, _ABOUT[side], report, f"check-{side}/report.html", told))
    organism = [f"discretion train {EMBEDDED} --recipe norms --out organism"]
    return Story(
        title="Harmless data, two ways",
        lead=f"An organism (SmolLM2-135M, taught a privacy norm) was tuned on {SAMPLES} chats that hold no private "
        "fact. What it writes afterwards is judged item by item: what must not be passed on (leak) and what the "
        "recipient needs (coverage).",
        chapters=chapters,
        commands=[*organism, *(reports[side].info.command for side in reports)],
    )
