"""`python -m discretion` is the same as `discretion`."""

from discretion.cli import main

main()
