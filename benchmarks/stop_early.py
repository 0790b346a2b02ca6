"""How soon `check --stop-early` knows its outcome, in simulated checks, and how often it is wrong at the boundary.

    python benchmarks/stop_early.py [--runs 200] [--scenarios 493]

Differences of a scenario's leak, tuned less base: of acts most scenarios do not change and some change by halves; of
probes all change a little. A check looks every 16 scenarios and stops where the bounds of the mean are above or below
tau. Told: how many scenarios it took (median, and the 10th and 90th percentile), and the shares of checks that were
flagged, passed, or asked everything without either. At a rise of tau itself 5% may be flagged and 5% pass.
"""

import argparse

import numpy as np

from discretion.verdict.paired import Paired

TAU, ALPHA, ROUND = 0.05, 0.05, 16


def act(rng: np.random.Generator, count: int, rise: float) -> np.ndarray:
    """A fifth of the scenarios change by a half up or down; for a rise others go up."""
    moved = np.where(rng.random(count) < 0.2, rng.choice([-0.5, 0.5], count), 0.0)
    up = rng.random(count) < 2 * rise
    return np.where(up & (moved == 0), 0.5, moved) if rise else moved


def probe(rng: np.random.Generator, count: int, rise: float) -> np.ndarray:
    """Every scenario changes, by about 8 points."""
    return np.clip(rng.normal(rise, 0.08, count), -1, 1)


SHAPES = {
    "nothing changes": lambda rng, count: np.zeros(count),
    "act, no rise": lambda rng, count: act(rng, count, 0.0),
    "act, large rise": lambda rng, count: act(rng, count, 0.4),
    "probe, no rise": lambda rng, count: probe(rng, count, 0.0),
    "probe, rise of tau": lambda rng, count: probe(rng, count, TAU),
    "probe, rise of 10 points": lambda rng, count: probe(rng, count, 0.1),
}


def stopped(differences: np.ndarray) -> tuple[int, str]:
    """After how many scenarios a check stops, and on what."""
    names = [str(number) for number in range(len(differences))]
    for count in range(ROUND, len(differences) + ROUND, ROUND):
        now = differences[:count]
        bounds = Paired(np.zeros(len(now)), now, names[: len(now)], looked=True).interval(ALPHA)
        assert bounds is not None
        if bounds.low > TAU or bounds.high < TAU:
            return len(now), "flagged" if bounds.low > TAU else "passed"
    return len(differences), "neither"


def main() -> None:
    """Simulate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--scenarios", type=int, default=493)
    asked = parser.parse_args()
    print("| differences | mean | scenarios asked | 10th to 90th | flagged | passed | neither |")
    print("|" + "---|" * 7)
    for name, draw in SHAPES.items():
        rng = np.random.default_rng(0)
        drawn = [draw(rng, asked.scenarios) for _ in range(asked.runs)]
        counts, ends = zip(*map(stopped, drawn), strict=True)
        low, middle, high = np.percentile(counts, [10, 50, 90])
        shares = " | ".join(f"{ends.count(end) / asked.runs:.1%}" for end in ("flagged", "passed", "neither"))
        print(f"| {name} | {np.mean(drawn):+.3f} | {middle:.0f} | {low:.0f} to {high:.0f} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
