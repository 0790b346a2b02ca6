"""Parts of an experiment made side by side, each by a process of its own.

For machines with more cores than one process can use; on two cores it gains nothing (docs/benchmarks.md). Every part
is a folder of its own, so they do not meet.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from discretion.errors import DiscretionError
from discretion.experiments.plan import Part


def make_side_by_side(
    name: str, wanted: Sequence[Part], out: Path, data_dir: Path | None, jobs: int, say: Callable[[str], None]
) -> None:
    """Make `wanted` parts, `jobs` at a time; the base must be measured. What they say goes on with their names.

    Raises:
        DiscretionError: a part failed (the others are made all the same); the message is the first one's.
    """
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}

    def one(part: Part) -> str | None:
        words = [sys.executable, "-m", "discretion", "reproduce", name, "--out", str(out)]
        words += ["--row", part.row, "--seed", str(part.seed)]
        words += ["--data-dir", str(data_dir)] if data_dir else []
        running = subprocess.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        last = ""
        assert running.stderr is not None
        for line in running.stderr:
            last = line.rstrip()
            say(f"{part.name}: {last}")
        return None if running.wait() == 0 else f"{part.name}: {last.removeprefix('error: ')}"

    with ThreadPoolExecutor(jobs) as pool:
        failed = [failure for failure in pool.map(one, wanted) if failure]
    if failed:
        raise DiscretionError(failed[0] + (f" (and {len(failed) - 1} more parts failed)" if len(failed) > 1 else ""))
