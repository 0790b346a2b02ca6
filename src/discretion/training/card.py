"""The model card of what was trained: README.md with the hub's metadata, and our results where there are some."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discretion.errors import DiscretionError
from discretion.files import read_json

_RESULTS = ("leak_tuned", "coverage_tuned", "delta")


def write_card(folder: Path, name: str, told: Mapping[str, Any]) -> None:
    """A card from what `training.json` says."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        base_model=str(told["base"]).partition("@")[0],
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


def add_results(folder: Path, run: Path) -> int:
    """Put a run's leak, coverage and rise into the card's metadata, where the hub shows them; how many.

    Raises:
        DiscretionError: no card, or no verdict there.
    """
    from huggingface_hub import EvalResult, ModelCard
    from huggingface_hub.repocard_data import eval_results_to_model_index

    card_path = folder / "README.md"
    if not card_path.is_file():
        raise DiscretionError(f"{folder}: has no README.md to put results into")
    verdict = read_json(run / "verdict.json")
    card = ModelCard.load(card_path)
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=suite,
            dataset_name=f"{suite} ({entry['elicitation']}, n {entry['n']})",
            metric_type=metric,
            metric_value=entry[metric],
        )
        for suite, entry in verdict["suites"].items()
        for metric in _RESULTS
        if entry.get(metric) is not None
    ]
    fields = card.data.to_dict()
    fields.pop("model-index", None)
    index = eval_results_to_model_index(str(fields.get("model_name") or folder.name), results)
    card.data.__dict__.update(fields)
    card.data.__dict__["model-index"] = index
    card.save(card_path)
    return len(results)


def _hub_licence(licence: str) -> str:
    known = {"MIT": "mit", "Apache-2.0": "apache-2.0", "CC BY 4.0": "cc-by-4.0"}
    return known.get(licence, "other")
