"""Whether it leaked: what turns an answer into a measurement."""

from discretion.judges.choice import parse_choice

__all__ = ["parse_choice"]
