"""To and from Inspect: our suites as its tasks, our runs as its logs, its logs as our controls. Needs `[inspect]`."""
