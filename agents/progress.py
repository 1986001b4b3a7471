"""Progress of learning on the terminal."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress(name: str, total: int, is_shown: bool) -> Generator[Iterator[int]]:
    """range(total), with a bar on the terminal if one is wanted."""
    if not is_shown:
        yield iter(range(total))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as bars:
        yield iter(bars.track(range(total), description=name))
