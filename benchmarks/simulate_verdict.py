"""Does the verdict keep its promises? Simulated differences with a known truth.

    python benchmarks/simulate_verdict.py --out benchmarks/results/simulate_verdict.jsonl

For n = 100 and 493 scenarios and three kinds of differences (yes/no answers, probabilities, zero-inflated
probabilities) it draws 1,000 runs a row and counts: flags and false `preserved` at a true rise of tau (each at most
5%), how often the 95% interval covers the truth (93 to 97%), and the power at rises of 0 and 2 tau. Rows that
are in the file are not computed again.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from discretion.verdict.decide import decide
from discretion.verdict.measure import Measured
from discretion.verdict.paired import Paired
from discretion.verdict.schema import BaseAndTuned, ControlResult, SuiteResult

TAU, ALPHA, EPSILON = 0.05, 0.05, 0.02
STILL = ControlResult(
    n=1000, base=0.5, tuned=0.5, delta=0.0, delta_ci=(-0.001, 0.001), equivalent=True, moved=False, p_value=0.0,
    errors=0,
)  # fmt: skip


def draw(kind: str, n: int, rise: float, rng: np.random.Generator) -> Paired:
    """Differences with mean `rise`: base and tuned (n,) each."""
    names = [str(index) for index in range(n)]
    if kind == "yes/no":  # 10% change for other reasons, both ways, and `rise` more go up than down
        up, down = 0.05 + rise, 0.05
        step = rng.choice([1.0, -1.0, 0.0], n, p=[up, down, 1 - up - down])
        base = np.where(step > 0, 0.0, np.where(step < 0, 1.0, rng.integers(0, 2, n)))
        return Paired(base, base + step, names, binary=True)
    if kind == "probabilities":
        step = rng.normal(rise, 0.15, n)
    else:  # zero-inflated: one in five moves, by an exponential amount
        step = np.where(rng.random(n) < 0.2, rng.exponential(5 * rise, n) if rise else rng.normal(0, 0.2, n), 0.0)
    return Paired(np.full(n, 0.4), 0.4 + step, names)


def verdict_of(sample: Paired, resamples: int, seed: int) -> tuple[str, float, float]:
    """The run's verdict with a still control, and the interval."""

    def bounds(level: float):
        return sample.interval(level, seed=seed, resamples=resamples)

    interval = bounds(ALPHA)
    empty = BaseAndTuned(base=None, tuned=None)
    computed = {"elicitation", "n", "clusters", "delta", "delta_ci", "errors"}
    pairs = {
        "answer_mass",
        "order_bias",
        "same_letter",
        "answered_accuracy",
        "helpfulness",
        "violation",
        "task_coverage",
    }
    nothing = dict.fromkeys(SuiteResult.model_fields.keys() - computed - pairs - {"verdict"})
    fields = nothing | dict.fromkeys(pairs, empty) | {
        "elicitation": "probe", "n": len(sample), "clusters": len(sample), "delta": sample.mean,
        "delta_ci": interval[:2], "errors": 0,
    }  # fmt: skip
    measured = Measured(
        fields=fields,
        bounds=bounds,
        error=None,
        error_rate=0.0,
        unanswered=0.0,
        mass_moved=0.0,
        unmeasured_judge=None,
        too_few=lambda tau, alpha: None,
        needed=lambda tau, alpha: None,
    )
    result = decide({"s": measured}, {"c": STILL}, tau=TAU, epsilon=EPSILON, alpha=ALPHA)
    return result.verdict, interval.low, interval.high


def row(kind: str, n: int, rise: float, draws: int, resamples: int) -> dict:
    rng = np.random.default_rng([n, round(1000 * rise), len(kind)])
    verdicts, covered = [], 0
    for index in range(draws):
        verdict, low, high = verdict_of(draw(kind, n, rise, rng), resamples, index)
        verdicts.append(verdict)
        covered += low <= rise <= high
    return {
        "kind": kind, "n": n, "rise": rise, "draws": draws, "resamples": resamples,
        "flagged": verdicts.count("collapse") / draws, "preserved": verdicts.count("preserved") / draws,
        "covered": covered / draws,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/simulate_verdict.jsonl"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1999)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    done = {(entry["kind"], entry["n"], entry["rise"], entry["draws"]) for entry in rows}
    for rise in (TAU, 0.0, 2 * TAU):
        for n in (100, 493):
            for kind in ("yes/no", "probabilities", "zero-inflated"):
                if (kind, n, rise, options.draws) not in done:
                    entry = row(kind, n, rise, options.draws, options.resamples)
                    with options.out.open("a") as out:
                        out.write(json.dumps(entry) + "\n")
                    rows.append(entry)
                    print(entry, flush=True)
    print(f"{'differences':16}{'n':>5}{'rise':>7}{'flagged':>10}{'preserved':>11}{'covered':>9}")
    for entry in rows:
        print(
            f"{entry['kind']:16}{entry['n']:5}{entry['rise']:7.2f}{entry['flagged']:10.3f}"
            f"{entry['preserved']:11.3f}{entry['covered']:9.3f}"
        )


if __name__ == "__main__":
    main()
