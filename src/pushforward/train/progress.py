"""The course of a fit on the terminal: a bar where rich is installed, else a line."""

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Generator

from pushforward.train.history import History


@contextlib.contextmanager
def progress_bar(show: bool, max_epochs: int, history: History) -> Generator[Callable[[int], None]]:
    """A context whose value is called after each epoch."""
    if not show:
        yield lambda epoch: None
    elif importlib.util.find_spec("rich") is not None:
        with _rich_bar(max_epochs, history) as report:
            yield report
    else:
        yield lambda epoch: _plain_line(epoch, max_epochs, history)


def _sentence(epoch: int, max_epochs: int, history: History) -> str:
    course = history.validation or history.train
    kind = "held-out" if history.validation else "train"
    return f"epoch {epoch + 1}/{max_epochs} {kind} {course[-1]:.3f} (Gaussian {history.gaussian:.3f})"


def _plain_line(epoch: int, max_epochs: int, history: History) -> None:
    if epoch % max(max_epochs // 20, 1) == 0 or epoch + 1 == max_epochs:
        sys.stderr.write(_sentence(epoch, max_epochs, history) + "\n")


@contextlib.contextmanager
def _rich_bar(max_epochs: int, history: History) -> Generator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task("compiled, first epoch", total=max_epochs)

        def report(epoch: int) -> None:
            bar.update(task, completed=epoch + 1, description=_sentence(epoch, max_epochs, history))

        yield report
