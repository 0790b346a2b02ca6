"""What may be said of an explanation's numbers, and what may not: a sentence or two for each picture."""

from collections.abc import Mapping
from typing import Any

_ALPHA = 0.05
_MASS = 0.1  # of the probability on the two letters: below it their difference says little
Found = Mapping[str, Any]


def conclusions(found: Found) -> dict[str, str]:
    """A text for each of lens, direction, cosine and causal."""
    return {
        "lens": _lens(found),
        "direction": _direction(found),
        "cosine": _cosine(found),
        "causal": _causal(found),
    }


def _lens(found: Found) -> str:
    change = found["lens"]["change"]
    last = found["layers"] - 1
    bounds = f"{change['mean'][last]:+.2f} [{change['low'][last]:+.2f}, {change['high'][last]:+.2f}]"
    mass = min(found["lens"][role]["mass"][last] for role in ("base", "tuned"))
    if change["high"][last] < 0:
        said = (
            f"In the last layer the tuned model leans further to the leaky option than the base, by {bounds} logits"
        )
        first = next(layer for layer in range(last + 1) if all(mean < 0 for mean in change["mean"][layer:]))
        read = min(found["lens"][role]["mass"][first] for role in ("base", "tuned"))
        said += (
            f"; the two curves part for good at about layer {first} (read off the means, not tested layer by layer)."
            if read >= _MASS
            else f". Where they part cannot be said: at layer {first} the letters have {read:.1%} of the probability."
        )
    elif change["low"][last] > 0:
        said = (
            f"In the last layer the tuned model leans further to the safe option than the base, by {bounds} logits."
        )
    else:
        said = f"In the last layer base and tuned model do not differ beyond the interval ({bounds} logits)."
    caution = " It says where an answer to these questions can be read off, not what makes it."
    if mass < 0.5:
        caution += (
            f" The two letters have only {mass:.0%} of the probability in the last layer: early layers say little."
        )
    return said + caution


def _direction(found: Found) -> str:
    layer = found["layer"]
    tried = found["separation"]["base"]
    share, p_value, half = tried["share"][layer], tried["p_value"][layer], tried["split_half"][layer]
    count = len(found["tried_on"])
    chance = "p below 0.001" if p_value < 0.001 else f"p {p_value:.3f}"
    said = (
        f"Fitted on {len(found['fitted_on'])} units, the base's direction at layer {layer} puts {share:.0%} of "
        f"{count} others on the safe side (one-sided {chance}); two halves of the fitting units agree with a "
        f"cosine of {'nothing' if half is None else f'{half:.2f}'}."
    )
    if p_value > _ALPHA:
        said += " It does not tell safe from leaky on new units, so nothing may be concluded from it."
    elif not found["balanced"]:
        said += (
            " Safe and leaky answers differ in their words in this suite, so the direction may be of what is said "
            "rather than of the norm."
        )
    letter = found["letter"][layer]
    if letter is not None and abs(letter) > 0.5:
        said += f" Its cosine with the direction of the letters A and B is {letter:.2f}: it may be the letter's."
    return said


def _cosine(found: Found) -> str:
    layer, privacy = found["layer"], found["cosine"]["privacy"]
    raw, ceiling = privacy["raw"][layer], privacy["ceiling"][layer]
    if raw is None:
        return "There is no direction at this layer to compare."
    said = f"At layer {layer} base and tuned directions have a cosine of {raw:.2f}, "
    if privacy["corrected"][layer] is None:
        return said + "with too much noise to say what it would be without."
    # Of raw cosines nothing is concluded: a direction that is found less surely looks turned where it is not.
    said += f"{_corrected(privacy, layer)} without noise"
    others = {
        name: both
        for name, both in found["cosine"].items()
        if name != "privacy" and both["corrected"][layer] is not None
    }
    named = [f"{name} {_corrected(both, layer)}" for name, both in others.items()]
    said += f"; for directions of other tasks it is {' and '.join(named)}." if named else "."
    if ceiling is not None and ceiling < 0.5:
        said += f" Halves agree with only {ceiling:.2f}, so it is known badly."
    high = privacy["corrected_high"][layer]
    apart = [name for name, both in others.items() if both["corrected_low"][layer] > high]
    if found["separation"]["base"]["p_value"][layer] > _ALPHA:
        said += " As the direction does not tell safe from leaky, this says nothing of the norm."
    elif others and len(apart) == len(others):
        said += " The privacy direction turned more than the others did."
    elif others:
        said += " That it turned more than directions of other tasks is not shown."
    return said


def _corrected(both: Mapping[str, Any], layer: int) -> str:
    low, high = both["corrected_low"][layer], both["corrected_high"][layer]
    return f"{both['corrected'][layer]:.2f} [{low:.2f}, {high:.2f}]"


def _causal(found: Found) -> str:
    checked = found["causal"]
    doses, tuned = checked["doses"], checked["answers"]["tuned"]
    least, most = tuned[0], tuned[-1]
    ends = [f"{end['mean'][0]:+.2f} [{end['low'][0]:+.2f}, {end['high'][0]:+.2f}]" for end in (least, most)]
    said = (
        f"Adding the direction at layer {found['layer']} {doses[0]:+g} to {doses[-1]:+g} times moves the tuned "
        f"model's answers (safe less leaky logit) from {ends[0]} to {ends[1]}."
    )
    moved, chance = checked["moved"], checked["chance"]
    said += (
        f" That is {moved['mean'][0]:+.2f} [{moved['low'][0]:+.2f}, {moved['high'][0]:+.2f}], paired; the largest of "
        f"{len(chance)} directions of the same length from shuffled labels moves them by {max(chance):+.2f}."
    )
    mass = min(least["mass"], most["mass"])
    if mass < _MASS:
        said += f" But at an end the two letters have only {mass:.1%} of the probability: nothing may be concluded."
    elif moved["low"][0] > 0 and moved["mean"][0] > max(chance):
        said += " More of it makes safer answers, more than chance does."
    else:
        said += " That it makes safer answers is not shown, so it is a sign of the norm at most, not its cause."
    out, zero = checked["removed"]["tuned"], min(range(len(doses)), key=lambda place: abs(doses[place]))
    said += (
        f" Taken out, it is {out['mean'][0]:+.2f} [{out['low'][0]:+.2f}, {out['high'][0]:+.2f}], where it is "
        f"{tuned[zero]['mean'][0]:+.2f} with {doses[zero]:g} times added."
    )
    if checked["messages"]:
        shown = ", ".join(
            f"{dose}: "
            + " / ".join("-" if entry[kind] is None else f"{entry[kind]:.0%}" for kind in ("leak", "coverage"))
            for dose, entry in checked["messages"].items()
        )
        count = next(iter(checked["messages"].values()))["n"]
        said += f" Messages under each dose, leak / coverage of {count} scenarios: {shown} (one greedy text each)."
    return said
