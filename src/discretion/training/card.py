"""The model card of what was trained: README.md with the hub's metadata."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


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


def _hub_licence(licence: str) -> str:
    known = {"MIT": "mit", "Apache-2.0": "apache-2.0", "CC BY 4.0": "cc-by-4.0"}
    return known.get(licence, "other")
