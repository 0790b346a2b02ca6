"""A progress bar on standard error with the time left, counted in tokens, which cost alike."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class Bar:
    """Implements `discretion.elicit.Progress` on a console; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}/{task.fields[groups]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._done = 0

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    @property
    def done(self) -> int:
        """How many contexts were recorded."""
        return self._done

    def start(self, tokens: int, groups: int) -> None:
        """See `Progress.start`."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._done = 0
        self._task = self._bar.add_task("asking", total=tokens, done=0, groups=groups)

    def advance(self, tokens: int) -> None:
        """See `Progress.advance`."""
        self._done += 1
        if self._task is not None:
            self._bar.update(self._task, advance=tokens, done=self._done)
