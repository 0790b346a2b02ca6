"""`discretion demo`: the whole story on a laptop. A model that keeps a norm is tuned on two kinds of harmless data.

The base is the organism: the embedded model, which knows no norm of its own, taught one by tasks (it ships as an
adapter; `--from-scratch` teaches it again). The two kinds are the two sides of the controlled pairs: the same
tasks, done at once with whatever is at hand (helpful), or after asking (control). Nothing in them is passed on to
anybody but the user.
"""

from collections.abc import Callable
from pathlib import Path

from discretion.elicit import Progress
from discretion.gate import compare_into, evaluate, rebuild
from discretion.models.weights import EMBEDDED, ORGANISM
from discretion.report import Report
from discretion.report.content import bounds, change, signed
from discretion.report.files import write_story
from discretion.report.story import Chapter, Story, examples
from discretion.run import command_line, load_run
from discretion.settings import Settings
from discretion.training.organism import teach

SUITE, CONTROL = "tasks:test", "questions:80"
SAMPLES, MAX_NEW_TOKENS = 144, 110
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
    data_dir: Path | None,
    progress: Progress | None,
    say: Callable[[str], None],
) -> Story:
    """Teach (or take) the organism, tune it twice, check both and one against the other, and write one report.

    Raises:
        DiscretionError: `out` holds other files, or what `tune`, `evaluate` and `compare` raise.
    """
    from discretion.corpus.controlled import controlled_pairs
    from discretion.run import prepare
    from discretion.training.recipes import Recipe
    from discretion.training.run import tune, tuned_spec

    asked = Settings(
        suites=(SUITE,), elicit=("act",), limit=limit, max_new_tokens=MAX_NEW_TOKENS, controls=(CONTROL,)
    )  # a mistake in it is said before anything is trained
    prepare(out, resume=resume)
    base = teach(EMBEDDED, out / "organism", say, data_dir=data_dir) if from_scratch else ORGANISM
    # On top of the organism's own adapter: gone on with, that one forgets the norm whatever the data. At this dose so
    # few samples tell the two sides apart, as 640 do at the default's (docs/experiments, our tasks).
    recipe = Recipe(fresh=True, grouped=True, learning_rate=1e-3, batch_size=4)
    pairs = controlled_pairs(SAMPLES, 0)
    facts = {"data_name": "controlled pairs", "licence": "Apache-2.0"}
    runs: dict[str, tuple[str, Path]] = {"base": (base, out / "runs" / "base")}
    for side in _ABOUT:
        say(f"Tuning the organism on {len(pairs)} {side} chats (LoRA, one epoch)")
        chats = [pair.chat(side) for pair in pairs]
        tune(base, chats, out / side, recipe, say, resume=True, facts=facts | {"side": side})
        runs[side] = tuned_spec(base, out / side, recipe), out / "runs" / side
    for side, (model, folder) in runs.items():
        say(f"Letting {'the organism' if side == 'base' else f'the {side} tune'} write its messages")
        evaluate(model, out=folder, resume=True, progress=progress, **vars(asked))
    for side in _ABOUT:
        compare_into(out / f"check-{side}", out / "runs" / "base", [out / "runs" / side])
    reports = {side: rebuild(out / f"check-{side}") for side in _ABOUT}
    compare_into(out / "check-sides", out / "runs" / "control", [out / "runs" / "helpful"])
    apart = _apart(rebuild(out / "check-sides"))
    command = ["demo", "--out", str(out), "--limit", str(limit), *(["--from-scratch"] if from_scratch else [])]
    command += ["--data-dir", str(data_dir)] if from_scratch and data_dir else []
    story = _story(out, reports, apart, command_line(command))
    write_story(story, out)
    return story


def _apart(sides: Report) -> str:
    """What the two sides differ by: the same tasks, of the same length, and only one of them asks."""
    (suite,) = sides.verdict.suites.values()
    shown = suite.delta_ci is not None and suite.delta_ci[0] > 0
    return (
        f"The two sets differ in asking first alone. Helpful leaks {signed(suite.delta)} against control "
        f"{bounds(suite.delta_ci)}, at {change(suite.coverage_base, suite.coverage_tuned)} coverage: "
        + ("more, on these tasks and in this one training." if shown else "no difference is shown.")
    )


def _story(out: Path, reports: dict[str, Report], apart: str, command: str) -> Story:
    from discretion.scenarios import load_suite

    asked = {scenario.id: scenario.instruction for scenario in load_suite(SUITE)}
    chapters = []
    for side, report in reports.items():
        _, records = load_run(out / f"check-{side}")
        told = examples(report, records, asked)
        chapters.append(Chapter(side, _ABOUT[side], report, f"check-{side}/report.html", told))
    return Story(
        title="Harmless data, two ways",
        lead=f"An organism (SmolLM2-135M, taught a privacy norm) was tuned twice, on {SAMPLES} chats in which "
        "nothing is passed on to anybody but the user. What it writes to others afterwards is judged item by item: "
        "what must not be passed on (leak) and what the recipient needs (coverage).",
        chapters=chapters,
        apart=apart,
        command=command,
    )
