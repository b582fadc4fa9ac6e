"""Progress of a training run on the terminal: a bar where rich is installed, else a line."""

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Generator


@contextlib.contextmanager
def progress_bar(show: bool, total: int, describe: Callable[[int], str], first: str) -> Generator[Callable[..., None]]:
    """A context whose value is called after each epoch with its number, and with the number of epochs if it changed.

    Args:
        show: whether to show anything.
        total: number of epochs.
        describe: the text after an epoch, from its number.
        first: the text until the first epoch ends.
    """
    if not show:
        yield lambda epoch, total=0: None
    elif importlib.util.find_spec("rich") is not None:
        with _rich_bar(total, describe, first) as report:
            yield report
    else:
        yield lambda epoch, new_total=total: _plain_line(epoch, new_total, describe)


def print_line(text: str) -> None:
    """Print a line on standard error, after the progress."""
    sys.stderr.write(text + "\n")


def _plain_line(epoch: int, total: int, describe: Callable[[int], str]) -> None:
    if epoch % max(total // 20, 1) == 0 or epoch + 1 == total:
        print_line(describe(epoch))


@contextlib.contextmanager
def _rich_bar(total: int, describe: Callable[[int], str], first: str) -> Generator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task(first, total=total)

        def report(epoch: int, new_total: int = total) -> None:
            bar.update(task, completed=epoch + 1, total=new_total, description=describe(epoch))

        yield report
