"""Fits the match judge anew and writes `judges/data/match.json`: python benchmarks/fit_match.py ../shared/data

The idf table is of the built-in suite's English contexts; the weights are of one half of CI-RL's labels.
"""

import statistics
import sys
from pathlib import Path

from discretion import judges
from discretion.files import digest, write_json
from discretion.judges import match
from discretion.judges.calibrate import fit, idf_table, measure, read_labels, score
from discretion.scenarios import load_suite

rows = read_labels(Path(sys.argv[1]))
contexts = [part for s in load_suite("builtin") if s.id.endswith("+") for part in s.context.split("\n\n")]
idf = idf_table(contexts)
known = fit(rows, idf)
calibration = match.Calibration(idf, known["bias"], tuple(known["weights"]), known["threshold"], 0.0, 0.0)
match.calibration = lambda: calibration  # type: ignore[assignment]
runs = measure(rows, score(rows), calibration.threshold)
parts = {name: [getattr(run, name) for run in runs.values()] for name in ("auc", "sensitivity", "specificity")}
mean = {name: round(statistics.mean(values), 4) for name, values in parts.items()}
mean |= {f"{name}_sd": round(statistics.stdev(values), 4) for name, values in parts.items()}
target = Path(judges.__file__).parent / "data" / "match.json"
write_json(
    target,
    {
        "made_by": "python benchmarks/fit_match.py DATA_DIR",
        "labels": digest([row._asdict() for row in rows]),
        **known,
        "measured": mean,
        "idf": idf,
    },
)
for name, run in runs.items():
    print(name, run)
print(mean)
