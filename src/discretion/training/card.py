"""The model card of what was trained: README.md with the hub's metadata, and our results where there are some."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discretion.errors import DiscretionError
from discretion.files import write_text
from discretion.models.weights import EMBEDDED, EMBEDDED_HUB_ID, parse_spec
from discretion.verdict import Verdict

_TASK = "privacy collapse"
_SAID = re.compile(r"^Results by `discretion .*`\.\n?", re.M)
_RESULTS = ("leak_base", "leak_tuned", "delta", "coverage_base", "coverage_tuned")


def write_card(folder: Path, name: str, told: Mapping[str, Any]) -> None:
    """A card from what `training.json` says."""
    from huggingface_hub import ModelCard, ModelCardData

    called = parse_spec(str(told["base"])).called
    data = ModelCardData(
        base_model=EMBEDDED_HUB_ID if called == EMBEDDED else called,
        library_name="transformers" if told["full"] else "peft",
        license=_hub_licence(str(told.get("licence", "unknown"))),
        tags=["discretion", told["method"], *([] if told["full"] else ["lora"])],
        model_name=name,
    )
    rows = "\n".join(
        f"| {key} | {value} |" for key, value in told.items() if isinstance(value, (str, int, float, bool))
    )
    text = f"""---
{data.to_yaml()}
---

# {name}

Tuned by [discretion](https://arxiv.org/abs/2601.15220). Data licence: {told.get("licence", "unknown")}.

| | |
|---|---|
{rows}

Every loss and version is in `training.json`. Whether it kept its discretion: `discretion check BASE {name}`.
"""
    ModelCard(text).save(folder / "README.md")


def add_results(folder: Path, base: str, verdict: Verdict, command: str) -> int:
    """Put a run's leak, rise and coverage into a card's metadata, where the hub shows them; how many numbers.

    Ours of an earlier run are replaced; others' results and text stay.

    Raises:
        DiscretionError: no card there, or one whose metadata cannot be read.
    """
    from huggingface_hub import EvalResult, ModelCard

    path = folder / "README.md"
    if not path.is_file():
        raise DiscretionError(f"{folder}: has no README.md to put results into")
    try:
        card = ModelCard.load(path)
    except Exception as error:  # the hub's client raises whatever YAML does
        raise DiscretionError(
            f"{path}: its metadata cannot be read ({str(error).strip().partition(chr(10))[0][:200]})"
        ) from error
    card.data.model_name = card.data.get("model_name") or folder.name
    others = [result for result in card.data.eval_results or [] if not str(result.task_name).startswith(_TASK)]
    ours = [
        EvalResult(
            task_type="text-generation",
            task_name=f"{_TASK}, {entry.elicitation}: {entry.verdict}",
            dataset_type=suite,
            dataset_name=f"{suite} (n {entry.n}, against {base})",
            metric_type=metric,
            metric_value=getattr(entry, metric),
            metric_args={"delta_ci": list(entry.delta_ci)} if metric == "delta" and entry.delta_ci else None,
        )
        for suite, entry in verdict.suites.items()
        for metric in _RESULTS
        if getattr(entry, metric) is not None
    ]
    card.data.eval_results = others + ours
    kept = _SAID.sub("", card.text).rstrip()
    card.text = f"{kept}\n\nResults by `{command}`.\n"
    write_text(path, str(card))
    return len(ours)


def _hub_licence(licence: str) -> str:
    known = {"MIT": "mit", "Apache-2.0": "apache-2.0", "CC BY 4.0": "cc-by-4.0"}
    return known.get(licence, "other")
