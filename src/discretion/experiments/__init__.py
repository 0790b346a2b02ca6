"""The paper's experiments, each from one file: made row by row, stopped and gone on with at any point."""
