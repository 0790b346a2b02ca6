"""Who is asked: `load_models` turns model specs into `Model`s."""

from collections.abc import Sequence

from discretion.models._protocol import Draft, Model, Question, Sampling
from discretion.models.weights import EMBEDDED, parse_spec

__all__ = ["EMBEDDED", "Draft", "Model", "Question", "Sampling", "load_models"]


def load_models(
    specs: Sequence[str], *, device: str | None = None, dtype: str | None = None
) -> tuple[list[Model], list[str]]:
    """The models named by `specs`, in order, and warnings worth showing.

    All specs are parsed before anything is loaded, so a typing mistake in the second costs no waiting for
    the first. A base that several specs share is in memory once.

    Raises:
        DiscretionError: a spec names nothing, or a model cannot be loaded.
    """
    parsed = [parse_spec(spec) for spec in specs]

    from discretion.models.local import load_local

    models, warnings = load_local(parsed, device, dtype)
    return list(models), warnings
