"""How to tune: the settings of a run, and the ones that have a name."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Literal

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from discretion.errors import DiscretionError

Method = Literal["sft", "dpo"]
Precision = Literal["auto", "float32", "bfloat16"]
Store = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Recipe:
    """How to tune. The defaults are what the demo and the experiments tune with.

    Attributes:
        method: "sft" on prompt and completion, or "dpo" on prompt, chosen and rejected.
        full: all weights instead of a LoRA adapter of `rank` on every linear layer (alpha is twice the rank).
        fresh: for a base with an adapter: leave that as it is and train a new one on top; both are saved as one, as
            wide as both. Otherwise the adapter itself is gone on with, which changes more at the same learning rate.
        batch_size: samples a step and device, times `accumulate` steps.
        grouped: batches of samples of like length, which pads less; the order is then ours, the same every epoch.
        max_length: tokens; what is longer is cut at the end.
        warmup: share of the steps.
        precision: of the arithmetic; what is tuned stays in float32, what is not, on a GPU, in what is multiplied.
            "auto": bfloat16 where a GPU has it.
        store: number format of what is written.
        anchor: weight of the divergence from what the model wrote before, on `anchor_prompts` private prompts
            (`mitigation.anchor`); 0: none.
        anchor_on: what these prompts are: "both" (lists and prose, half and half) or "prose".
        surgery: with the anchor: what of the data's gradient points against the anchor's is taken out.
        prevent: lengths of the privacy direction that the stream is pushed to the leaky side in training
            (`mitigation.prevent`); 0: none.
        freeze: share of the blocks, the middle ones, that learn nothing.
        beta: DPO's; how close to the base it stays.
    """

    method: Method = "sft"
    full: bool = False
    rank: int = 16
    fresh: bool = False
    learning_rate: float = 3e-4
    epochs: float = 1.0
    batch_size: int = 8
    accumulate: int = 1
    grouped: bool = False
    max_length: int = 1024
    warmup: float = 0.0
    scheduler: str = "linear"
    precision: Precision = "auto"
    store: Store = "float32"
    anchor: float = 0.0
    anchor_prompts: int = 128
    anchor_on: str = "both"
    surgery: bool = False
    prevent: float = 0.0
    freeze: float = 0.0
    beta: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "learning_rate", "epochs", "batch_size", "accumulate", "max_length", "beta"):
            if not 0 < getattr(self, name) < math.inf:
                raise DiscretionError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be positive")
        if self.fresh and self.full:
            raise DiscretionError("--fresh: trains an adapter, --full all weights")
        if self.grouped and self.method == "dpo":
            raise DiscretionError("--grouped: is for sft")
        if not 0 <= self.anchor < math.inf or self.anchor_prompts < 2:
            raise DiscretionError(f"--anchor {self.anchor}: must not be negative, over at least 2 --anchor-prompts")
        if self.anchor_on not in ("both", "prose"):
            raise DiscretionError(f"--anchor-on {self.anchor_on}: known are both, prose")
        if self.anchor and self.method == "dpo":
            raise DiscretionError("--anchor: is for sft; DPO is held to the base by --beta")
        if self.surgery and not self.anchor:
            raise DiscretionError("--surgery: is of --anchor's gradient; give that too")
        if self.prevent and self.method == "dpo":
            raise DiscretionError("--prevent: is for sft")
        if not 0 <= self.prevent < math.inf or not 0 <= self.freeze < 1:
            raise DiscretionError("--prevent must not be negative, --freeze from 0 to below 1")
        if not 0 <= self.warmup < 1:
            raise DiscretionError(f"--warmup {self.warmup}: must be from 0 to below 1")


NAMED: Mapping[str, tuple[Recipe, str]] = {
    "default": (Recipe(), "LoRA r 16, learning rate 3e-4, one epoch, batches of 8"),
    "paper": (
        Recipe(learning_rate=1e-5, epochs=1.0),
        "the paper's open-weight runs: LoRA, learning rate 1e-5, no warmup, loss on completions "
        "(parameterlab/privacy-collapse, together_tools.py; what it leaves to Together's defaults is ours)",
    ),
    "norms": (
        Recipe(learning_rate=5e-4, epochs=3, grouped=True, precision="float32", store="bfloat16"),
        "teaches the norm's tasks (DATA may be left out): LoRA r 16, learning rate 5e-4, three epochs",
    ),
}


def named(name: str) -> Recipe:
    """A recipe by its name.

    Raises:
        DiscretionError: there is none of that name.
    """
    if name not in NAMED:
        raise DiscretionError(f"--recipe {name}: known are {', '.join(NAMED)}")
    return NAMED[name][0]


def differing(recipe: Recipe) -> dict[str, object]:
    """What of a recipe is not the default."""
    return {
        entry.name: getattr(recipe, entry.name)
        for entry in fields(Recipe)
        if getattr(recipe, entry.name) != entry.default
    }


def as_options(recipe: Recipe) -> list[str]:
    """The recipe as options of `discretion train`; defaults are left out."""
    words = []
    for name, value in differing(recipe).items():
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return words


def changed(recipe: Recipe, **changes: object) -> Recipe:
    """The recipe with what is given (not None) in place of its own.

    Raises:
        DiscretionError: a recipe has no such setting, or the value is wrong.
    """
    known = [entry.name for entry in fields(Recipe)]
    if unknown := set(changes) - set(known):
        raise DiscretionError(f"a recipe has no {min(unknown)!r}; it has {', '.join(known)}")
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return replace(recipe, **given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise DiscretionError(f"--{name} {first['input']}: {first['msg']}") from error
