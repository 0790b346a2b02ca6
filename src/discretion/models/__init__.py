"""Who is asked: `load_models` turns model specs into `Model`s."""

from collections.abc import Iterator, Sequence

from discretion.models._protocol import Draft, Failure, Model, Question, Sampling
from discretion.models.address import Pace, parse_address
from discretion.models.weights import EMBEDDED, parse_spec

__all__ = ["EMBEDDED", "Draft", "Failure", "Model", "Pace", "Question", "Sampling", "load_models"]


def load_models(
    specs: Sequence[str], *, device: str | None = None, dtype: str | None = None, pace: Pace | None = None
) -> tuple[list[Model], list[str]]:
    """The models named by `specs`, in order, and warnings worth showing.

    All specs are parsed before anything is loaded, so a typing mistake in the second costs no waiting for
    the first. A base that several specs share is in memory once.

    Raises:
        DiscretionError: a spec names nothing, or a model cannot be loaded.
    """
    addresses = [parse_address(spec) for spec in specs]
    parsed = [parse_spec(spec) for spec, address in zip(specs, addresses, strict=True) if address is None]
    remote: dict[str, Model] = {}
    warnings: list[str] = []
    if any(addresses):  # A server is asked first: it says at once if it is not there.
        from discretion.models.endpoint import EndpointModel

        served = {spec: EndpointModel(spec, at, pace) for spec, at in zip(specs, addresses, strict=True) if at}
        remote |= served
        warnings += [warning for model in served.values() for warning in model.warnings()]
    local: Iterator[Model] = iter(())
    if parsed:
        from discretion.models.local import load_local

        models, more = load_local(parsed, device, dtype)
        local, warnings = iter(list[Model](models)), warnings + more
    return [remote[spec] if spec in remote else next(local) for spec in specs], warnings
