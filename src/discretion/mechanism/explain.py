"""`discretion explain`: where and along which direction a tune changed what a model holds to be private.

Half of the units (pairs, scenarios) fit the direction, the other half tries it; the lens and the causal check use
only the other half. The layer is chosen on the fitting half.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from discretion.controls import Choice, commonsenseqa, questions
from discretion.elicit.wording import task
from discretion.errors import DiscretionError
from discretion.judges.calibrate import read_labels
from discretion.mechanism import causal
from discretion.mechanism.contrast import (
    Contrast,
    action_contrasts,
    item_contrasts,
    leak_questions,
    letter_contrasts,
    option_contrasts,
    task_contrasts,
)
from discretion.mechanism.direction import (
    Differences,
    best_layer,
    compare,
    cosine,
    differences,
    separation,
    split_half,
    split_units,
)
from discretion.mechanism.lens import Lens, read_lens
from discretion.mechanism.numbers import by_unit, interval, mean_of_known, plain, plane, told_cosines, told_lens
from discretion.mechanism.stages import Stages
from discretion.mechanism.vectors import save_control_vector, save_direction
from discretion.models import Question, load_here
from discretion.models.local import LocalModel
from discretion.scenarios import Scenario, choose, load_suite

Array = NDArray[np.float64]
Say = Callable[[str], None]
_LETTERS, _SHUFFLED = 40, 19  # the direction beats so many by chance in one of 20
ORDERS = ("yes-first", "no-first")
CONTRASTS = ("items", "options", "actions")


@dataclass(frozen=True)
class ExplainSettings:
    """What is looked at.

    Attributes:
        contrast: what the direction is fitted on: "items" (messages that tell an item, right or wrong), "options"
            (the letters of No and Yes, in both orders), or "actions" (PrivacyLens' final actions as CI-RL's runs took
            them and labelled them, from `data_dir`).
        orders: which option orders are asked for "options"; one alone finds the letter, and is refused.
        units: how many pairs (in suites without pairs: scenarios), half of them to fit the direction.
        tried: of the other half, how many the lens and the causal check ask about; they cost most.
        doses: multiples of the direction that are added.
        max_new_tokens: of the messages that are written under a dose; 0 writes none.
    """

    suite: str = "builtin:dev"
    contrast: str = "items"
    orders: tuple[str, ...] = ORDERS
    units: int = 50
    tried: int = 12
    doses: tuple[float, ...] = (-4.0, -2.0, 0.0, 2.0, 4.0)
    max_new_tokens: int = 110
    seed: int = 0
    data_dir: Path | None = None
    device: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.contrast not in CONTRASTS:
            raise DiscretionError(f"--contrast {self.contrast}: known are {', '.join(CONTRASTS)}")
        if self.contrast == "actions" and (self.suite != "privacylens" or self.data_dir is None):
            raise DiscretionError("--contrast actions: is of --suite privacylens, with labels from --data-dir")
        if not self.orders or set(self.orders) - set(ORDERS):
            raise DiscretionError(f"--order {' '.join(self.orders)}: known are {', '.join(ORDERS)}")
        if self.units < 8:
            raise DiscretionError(f"--units {self.units}: must be at least 8, half of them to fit and half to try")
        if self.tried < 2:
            raise DiscretionError(f"--tried {self.tried}: must be at least 2")


def explain(base: str, tuned: str, out: Path, asked: ExplainSettings, say: Say) -> dict[str, Any]:
    """Everything that is found, as written to `explain.json`; directions go beside it.

    Raises:
        DiscretionError: a model is not a local one, or the suite has no scenario with both kinds of items.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "stages").is_dir()):
        raise DiscretionError(f"{out}: holds other files than an explanation's; choose another --out")
    scenarios = choose(load_suite(asked.suite, data_dir=asked.data_dir), None)
    contrasts = _contrasts(scenarios, asked)[: asked.units]
    if len(contrasts) < 8:
        raise DiscretionError(
            f"{asked.suite}: {len(contrasts)} units have both safe and leaky answers; 8 are needed"
            + (" (--contrast options asks about wrong items alone)" if asked.contrast == "items" else "")
        )
    here = load_here([base, tuned], device=asked.device, dtype=asked.dtype, pair=True)
    models = dict(zip(("base", "tuned"), here, strict=True))
    stages = Stages(out / "stages")
    say(f"Directions from {len(contrasts)} units, base and tuned")
    tasks = _task_sets(len(contrasts), asked.data_dir)
    found = {name: _differences(stages, "privacy", name, model, contrasts) for name, model in models.items()}
    on_tasks = {
        task: {name: _differences(stages, task, name, model, made) for name, model in models.items()}
        for task, made in tasks.items()
    }
    letters = _differences(stages, "letter", "base", models["base"], letter_contrasts(questions.load()[:_LETTERS]))
    fit, trial = split_units(found["base"].units, asked.seed)
    alike = cosine(found["base"].direction, letters.direction)
    if asked.contrast == "options":
        _refuse_letters(asked.orders, alike)
    layer = best_layer(found["base"].part(fit).values, asked.seed)
    held_out = [found["base"].units[place] for place in trial][: asked.tried]
    asks = leak_questions([scenario for scenario in scenarios if scenario.cluster in held_out])
    say(f"The lens, {len(asks)} questions of {len(held_out)} units")
    lenses = {name: _lens(stages, name, model, asks) for name, model in models.items()}
    say(f"The causal check at layer {layer}")
    vectors = {name: torch.tensor(part.part(fit).direction, dtype=torch.float32) for name, part in found.items()}
    acted = [scenario for scenario in scenarios if scenario.cluster in held_out and scenario.instruction]
    shuffled = _shuffled(found["base"].part(fit).values[:, layer], vectors["base"][layer])
    checked = _causal(stages, models, asks, acted, layer, vectors["base"], shuffled, asked)
    units = [unit for unit, _, _ in asks]
    for name, model in models.items():
        facts = {"suite": asked.suite, "seed": str(asked.seed), "units": str(len(fit)), "of": model.name}
        save_direction(out / f"direction-{name}.safetensors", vectors[name], layer, model.fingerprint, facts)
    family = str(_config(models["base"]).model_type)
    save_control_vector(out / "control-vector.gguf", vectors["base"], family)
    return {
        "suite": asked.suite,
        "models": {name: {"name": model.name, "fingerprint": model.fingerprint} for name, model in models.items()},
        "layers": vectors["base"].shape[0],
        "layer": layer,
        "balanced": found["base"].balanced,
        "fitted_on": [found["base"].units[place] for place in fit],
        "tried_on": [found["base"].units[place] for place in trial],
        "asked_about": held_out,
        "lens": {
            **{name: told_lens(lens, units) for name, lens in lenses.items()},
            "change": interval(by_unit(lenses["tuned"].difference - lenses["base"].difference, units)),
        },
        "cosine": {
            "privacy": told_cosines(compare(found["base"], found["tuned"], asked.seed)),
            **{
                task: told_cosines(compare(both["base"], both["tuned"], asked.seed))
                for task, both in on_tasks.items()
            },
        },
        "letter": plain(alike),
        "separation": {
            name: {
                key: plain(value)
                for key, value in separation(
                    part.part(fit).direction, part.part(trial).values
                )._asdict().items()
            }
            | {"split_half": plain(split_half(part.part(fit).values, asked.seed))}
            for name, part in found.items()
        },
        "plane": plane(found, layer),
        "causal": checked,
    }  # fmt: skip


def _contrasts(scenarios: Sequence[Scenario], asked: ExplainSettings) -> list[Contrast]:
    if asked.contrast == "options":
        return option_contrasts(scenarios, asked.orders)
    if asked.contrast == "actions":
        assert asked.data_dir is not None
        return action_contrasts(scenarios, read_labels(asked.data_dir))
    return item_contrasts(scenarios)


def _refuse_letters(orders: Sequence[str], alike: Array) -> None:
    """With one order the safe option is always the same letter, and the letter's direction is what is found."""
    if len(set(orders)) < len(ORDERS):
        layer = int(np.nanargmax(np.abs(alike)))
        raise DiscretionError(
            f"--order {' '.join(orders)}: with one option order the safe answer is always the same letter; the "
            f"direction found has a cosine of {alike[layer]:.3f} with that letter's at layer {layer}. Ask both orders"
        )


def _config(model: LocalModel) -> Any:
    with model.inside() as network:
        return network.config


def _task_sets(count: int, data_dir: Path | None) -> dict[str, list[Contrast]]:
    """Directions to compare with: as many units of a task that has nothing to do with privacy, two where at hand."""
    sets: dict[str, Sequence[Choice]] = {"questions": questions.load()}
    with suppress(DiscretionError):  # not on this machine: our own questions remain
        sets["commonsenseqa"] = commonsenseqa.load(data_dir=data_dir, download=False)
    return {name: task_contrasts(found[:count]) for name, found in sets.items()}


def _differences(
    stages: Stages, kind: str, role: str, model: LocalModel, contrasts: Sequence[Contrast]
) -> Differences:
    units = tuple(contrast.unit for contrast in contrasts)
    kept = stages.get(
        f"{kind}-{role}",
        [kind, model.fingerprint, model.engine, [_identity(contrast) for contrast in contrasts]],
        lambda: {"values": differences(model, contrasts).values.astype(np.float32)},
    )
    return Differences(units, kept["values"].astype(np.float64), all(contrast.balanced for contrast in contrasts))


def _identity(contrast: Contrast) -> list[Any]:
    """What decides a contrast's activations, for a fingerprint."""
    return [contrast.unit, *([[list(answer.turns), answer.text] for answer in side] for side in contrast[1:3])]


def _lens(stages: Stages, role: str, model: LocalModel, asks: Sequence[tuple[str, Question, int]]) -> Lens:
    asked = [(question, leaky) for _, question, leaky in asks]
    told = [[question.prompt, leaky] for question, leaky in asked]
    kept = stages.get(
        f"lens-{role}", [model.fingerprint, model.engine, told], lambda: read_lens(model, asked)._asdict()
    )
    return Lens(kept["difference"], kept["mass"], kept["rank"])


def _causal(
    stages: Stages,
    models: Mapping[str, LocalModel],
    asks: Sequence[tuple[str, Question, int]],
    acted: Sequence[Scenario],
    layer: int,
    vector: torch.Tensor,
    shuffled: Sequence[torch.Tensor],
    asked: ExplainSettings,
) -> dict[str, Any]:
    """What adding the base's direction, taking it out, and putting the base's stream into the tuned model does.

    `shuffled`: what is found where units' safe and leaky sides are mixed up, added in its place.
    """
    probes, units = [(question, leaky) for _, question, leaky in asks], [unit for unit, _, _ in asks]
    along = vector[layer]
    marked: list[Any] = [[model.fingerprint, model.engine] for model in models.values()]
    marked.append([question.prompt for question, _ in probes])
    result: dict[str, Any] = {"doses": list(asked.doses), "answers": {}, "removed": {}, "messages": {}}
    for role, model in models.items():
        told: list[dict[str, Any]] = []
        ends: list[Array] = []
        for dose in asked.doses:
            key = [*marked, layer, along.tolist(), dose]
            kept = stages.get(f"dose-{role}-{dose:g}", key, partial(_dosed, model, probes, layer, along, dose))
            ends.append(kept["difference"][:, None])
            told.append(interval(by_unit(ends[-1], units)) | {"mass": float(kept["mass"].mean())})
        result["answers"][role] = told
        if role == "tuned":
            result["moved"] = interval(by_unit(ends[-1] - ends[0], units))
        key = [*marked, layer, along.tolist()]
        kept = stages.get(f"removed-{role}", key, partial(_without, model, probes, layer, along))
        result["removed"][role] = interval(by_unit(kept["difference"][:, None], units))
    result["chance"] = []
    for number, drawn in enumerate(shuffled):
        sides = []
        for dose in (asked.doses[0], asked.doses[-1]):
            key = [*marked, layer, drawn.tolist(), dose]
            made = partial(_dosed, models["tuned"], probes, layer, drawn, dose)
            kept = stages.get(f"shuffled-{number}-{dose:g}", key, made)
            sides.append(float(by_unit(kept["difference"][:, None], units).mean()))
        result["chance"].append(abs(sides[1] - sides[0]))  # the sign of such a direction is chosen afterwards
    streams = stages.get("patched", marked, partial(_patched, models, probes))
    result["patched"] = interval(by_unit(streams["difference"], units))
    written = [[task(scenario, "naive"), [vars(item) for item in scenario.items]] for scenario in acted]
    for dose in asked.doses if asked.max_new_tokens and acted else ():
        key = [*marked, layer, along.tolist(), dose, str(written), asked.max_new_tokens]
        made = partial(_written, models["tuned"], acted, layer, along, dose, asked)
        kept = stages.get(f"written-{dose:g}", key, made)
        result["messages"][f"{dose:g}"] = {
            "n": len(acted),
            "leak": mean_of_known(kept["leak"]),
            "coverage": mean_of_known(kept["coverage"]),
        }
    return result


def _shuffled(values: Array, along: torch.Tensor) -> list[torch.Tensor]:
    """Directions from these units (units, width) with their sides mixed up, as long as the real one."""
    flips = np.random.default_rng(0).choice([-1.0, 1.0], size=(_SHUFFLED, len(values)))
    found = [torch.tensor(flip @ values, dtype=torch.float32) for flip in flips]
    return [vector * (along.norm() / vector.norm().clamp_min(1e-12)) for vector in found]


def _dosed(
    model: LocalModel, probes: Sequence[tuple[Question, int]], layer: int, along: torch.Tensor, dose: float
) -> dict[str, Array]:
    return causal.dosed(model, probes, layer, along, dose)._asdict()


def _without(
    model: LocalModel, probes: Sequence[tuple[Question, int]], layer: int, along: torch.Tensor
) -> dict[str, Array]:
    return causal.without(model, probes, layer, along)._asdict()


def _patched(models: Mapping[str, LocalModel], probes: Sequence[tuple[Question, int]]) -> dict[str, Array]:
    return {"difference": causal.patched(models["base"], models["tuned"], probes)}


def _written(
    model: LocalModel, acted: Sequence[Scenario], layer: int, along: torch.Tensor, dose: float, asked: ExplainSettings
) -> dict[str, Array]:
    from discretion.mechanism.steering import steered

    with steered(model, {layer: dose * along}):
        return causal.written(model, acted, asked.max_new_tokens)._asdict()
