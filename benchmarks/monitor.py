"""What the privacy monitor costs: its looks against the steps between them, in one run.

    python benchmarks/monitor.py [--steps 50] [--every 25]

The embedded model is tuned on controlled pairs as `discretion train` does it (batches of 8, LoRA, float32). The look
before the first step, which a run needs once, is told apart. Time in the monitor's callbacks is the monitor's; all
other time between the first step's begin and the last one's end is training's.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from discretion.corpus.controlled import controlled_pairs
from discretion.models import EMBEDDED
from discretion.training import PrivacyMonitor, Recipe, tune
from discretion.training import monitor as monitoring


class Timed(PrivacyMonitor):
    """The monitor, and how long each of its looks takes."""

    looks: list[float]
    began = 0.0

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        TIMED.append(self)
        self.looks = []

    def on_train_begin(self, *words: Any, **named: Any) -> None:
        """See `PrivacyMonitor`; timed."""
        before = time.perf_counter()
        super().on_train_begin(*words, **named)
        self.began = time.perf_counter()
        self.first = self.began - before

    def on_step_end(self, *words: Any, **named: Any) -> None:
        """See `PrivacyMonitor`; timed."""
        before, count = time.perf_counter(), len(self.history)
        super().on_step_end(*words, **named)
        self.ended = time.perf_counter()
        if len(self.history) > count:
            self.looks.append(self.ended - before)


TIMED: list[Timed] = []


def main() -> None:
    """Tune once, watched, and say what the looks cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--every", type=int, default=monitoring.MOST_STEPS)
    asked = parser.parse_args()
    recipe = Recipe(precision="float32", grouped=True)
    chats = [pair.chat("helpful") for pair in controlled_pairs(asked.steps * recipe.batch_size)]
    monitoring.PrivacyMonitor = Timed  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        tune(EMBEDDED, chats, Path(folder) / "tuned", recipe, monitor_every=asked.every)
    (timed,) = TIMED
    watching = sum(timed.looks)
    training = timed.ended - timed.began - watching
    step, look = training / asked.steps, statistics.mean(timed.looks)
    print(
        f"{asked.steps} steps of {recipe.batch_size} samples, {step:.2f} s each; {len(timed.looks)} looks, "
        f"{look:.2f} s each: {watching / training:.1%} of the training time at a look every {asked.every} steps "
        f"(a look is {look / step:.2f} steps). Before the first step: {timed.first:.2f} s"
    )


if __name__ == "__main__":
    main()
