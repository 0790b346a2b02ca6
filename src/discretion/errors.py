"""The one exception that stands for a mistake its user can mend."""


class DiscretionError(Exception):
    """Wrong input, a missing file, a model that cannot be asked.

    The message is one or two lines, names the file, line and field where there is one, and says what to
    do. The command line prints it and exits with 2; no traceback is shown.
    """
