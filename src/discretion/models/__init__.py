"""Who is asked: `load_models` turns model specs into `Model`s."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from discretion.errors import DiscretionError
from discretion.models._protocol import Draft, Failure, Model, Question, Sampling
from discretion.models.address import INSPECT, Address, Pace, parse_address
from discretion.models.weights import EMBEDDED, parse_spec

if TYPE_CHECKING:
    from discretion.models.local import LocalModel
    from discretion.models.remote import RemoteModel

__all__ = ["EMBEDDED", "Draft", "Failure", "Model", "Pace", "Question", "Sampling", "load_here", "load_models"]


def load_models(
    specs: Sequence[str],
    *,
    device: str | None = None,
    dtype: str | None = None,
    pace: Pace | None = None,
    pair: bool = False,
) -> tuple[list[Model], list[str]]:
    """The models named by `specs`, in order, and warnings worth showing. Of a `pair` the first two are compared.

    All specs are parsed before anything is loaded, so a typing mistake in the second costs no waiting for
    the first. A base that several specs share is in memory once.

    Raises:
        DiscretionError: a spec names nothing, or a model cannot be loaded.
    """
    addresses = {spec: parse_address(spec) for spec in specs if not spec.startswith(INSPECT)}
    parsed = [parse_spec(spec) for spec in specs if spec in addresses and addresses[spec] is None]
    remote: dict[str, Model] = {}
    warnings: list[str] = []
    for spec in specs:  # A server is asked first: it says at once if it is not there.
        served = None if spec in remote else _served(spec, addresses.get(spec), pace)
        if served is not None:
            remote[spec] = served
            warnings += served.warnings()
    local: Iterator[Model] = iter(())
    if parsed:
        from discretion.models.local import load_local

        models, more = load_local(parsed, device, dtype, pair=pair and len(specs) - len(remote) > 1)
        local, warnings = iter(list[Model](models)), warnings + more
    return [remote[spec] if spec in remote else next(local) for spec in specs], warnings


def load_here(
    specs: Sequence[str], *, device: str | None = None, dtype: str | None = None, pair: bool = False
) -> "list[LocalModel]":
    """As `load_models`, for what looks into a model and so needs its weights.

    Raises:
        DiscretionError: one is behind a server.
    """
    from discretion.models.local import LocalModel

    models, _ = load_models(specs, device=device, dtype=dtype, pair=pair)
    here = [model for model in models if isinstance(model, LocalModel)]
    for model in models:
        if model not in here:
            raise DiscretionError(f"{model.name}: only models on this machine can be looked into")
    return here


def _served(spec: str, address: Address | None, pace: Pace | None) -> "RemoteModel | None":
    if spec.startswith(INSPECT):
        from discretion.models.inspect import InspectModel

        return InspectModel(spec, pace)
    if address is not None:
        from discretion.models.endpoint import EndpointModel

        return EndpointModel(spec, address, pace)
    return None
