"""The one exception that stands for a mistake its user can mend, and how a wrong field is named."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class DiscretionError(Exception):
    """Wrong input, a missing file, a model that cannot be asked.

    The message is one or two lines, names the file, line and field where there is one, and says what to
    do. The command line prints it and exits with 2; no traceback is shown.
    """


def wrong_field(place: str, error: "ValidationError", whole: str = "(the whole)") -> DiscretionError:
    """The first of pydantic's complaints as one line: where, which field, what is wrong, how many more."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or whole
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return DiscretionError(f"{place}, field {field}: {first['msg']}{more}")
