"""What to do about it: tune on the same data and lose less of the norm."""
