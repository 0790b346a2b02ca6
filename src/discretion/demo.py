"""`discretion demo`: tune the embedded model on the spot, then check it.

This is its first, honest form: the embedded model, untaught, knows no privacy norm, so the demo shows the machinery
(a tune, a verdict, a control, the files) and says that this base has no norm to lose.
"""

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from discretion.elicit import Progress
from discretion.gate import check
from discretion.models import EMBEDDED
from discretion.report import Report


def run_demo(out: Path, *, resume: bool, limit: int, progress: Progress | None, say: Callable[[str], None]) -> Report:
    """Tune (unless `out` holds the adapter already) and check. Raises as `check` does."""
    from discretion.run import prepare
    from discretion.training import Recipe, read_chats, tune

    prepare(out, resume=resume)
    adapter = out / "helpful"
    if not (adapter / "adapter_model.safetensors").is_file():
        chats = read_chats(Path(str(resources.files("discretion") / "training" / "data" / "helpful.jsonl")))
        say(f"Tuning {EMBEDDED} on {len(chats)} harmless-looking, helpful chats (LoRA, one epoch)")
        tune(EMBEDDED, chats, adapter, Recipe(learning_rate=5e-4, batch_size=4), say, resume=True)
    say("Asking base and tuned model the same questions")
    return check(
        EMBEDDED,
        f"{EMBEDDED}@{adapter}",
        out=out / "check",
        resume=True,
        progress=progress,
        suites=("builtin",),
        limit=limit,
        controls=("questions",),
    )
