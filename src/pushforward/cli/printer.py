"""What the commands say: text and tables for people, one JSON object for machines."""

import codecs
import contextlib
import io
import json
import math
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

_FILE_WIDTH = 120  # of a table that no terminal bounds
_PATIENCE = 2.0  # seconds of silence


def plain(text: str) -> str:
    """Text that cannot steer a terminal: control characters, which a file may hold, are written as escapes.

    >>> plain("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return "".join(
        part if part.isprintable() or part == "\n" else part.encode("unicode_escape").decode() for part in text
    )


_SPELLED = {"±": "+-"}  # what the tables hold beyond ASCII


def hold_any_text(stream: object) -> None:
    """Let a stream whose encoding lacks a character write it in others: ± as +-, else as an escape."""
    codecs.register_error("pushforward", _spelled)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="pushforward")


def _spelled(fault: UnicodeError) -> tuple[str, int]:
    if not isinstance(fault, UnicodeEncodeError):
        raise fault
    part = fault.object[fault.start : fault.end]
    return "".join(_SPELLED.get(sign, sign.encode("unicode_escape").decode()) for sign in part), fault.end


class Printer:
    """Results on standard output, as text or as JSON; progress and remarks go to standard error.

    Args:
        json_only: print one JSON object instead of text.
        quiet: print no text at all.
    """

    def __init__(self, json_only: bool, quiet: bool) -> None:
        self.json_only, self.talks = json_only, not json_only and not quiet

    def say(self, text: str = "") -> None:
        """A line of text for people."""
        if self.talks:
            sys.stdout.write(plain(text) + "\n")
            sys.stdout.flush()

    def warn(self, text: str) -> None:
        """A line on standard error that begins with "note:", as warnings do."""
        if self.talks:
            self._remark(f"note: {text}")

    @contextlib.contextmanager
    def course(self) -> Generator[Callable[[str], None]]:
        """A context whose value shows how work stands, on standard error: a line that moves; in a file one after
        another, two seconds apart at least."""
        if not self.talks or not sys.stderr.isatty():
            last = time.monotonic()

            def write(sentence: str) -> None:
                nonlocal last
                if self.talks and time.monotonic() - last >= _PATIENCE:
                    self._remark(sentence)
                    last = time.monotonic()

            yield write
            return
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status("starting") as status:
            yield lambda sentence: status.update(Text(plain(sentence)))

    @contextlib.contextmanager
    def stage(self, words: str) -> Generator[None]:
        """A context for a part of the work: once it lasts two seconds standard error says so, and its time at its end.

        Args:
            words: what is done, such as "testing the model".
        """
        if not self.talks:
            yield
            return
        start = time.monotonic()
        timer = threading.Timer(_PATIENCE, self._remark, [f"{words} ..."])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
        took = time.monotonic() - start
        if took >= _PATIENCE:
            self._remark(f"{words}: {seconds(took)}")

    @staticmethod
    def _remark(text: str) -> None:
        sys.stderr.write(plain(text) + "\n")
        sys.stderr.flush()

    def facts(self, pairs: Iterable[tuple[str, object]]) -> None:
        """Names and values, one pair a line, the values under each other."""
        lines = [(name, str(value)) for name, value in pairs]
        width = max((len(name) for name, _ in lines), default=0)
        for name, value in lines:
            self.say(f"{name:<{width}}  {value}".rstrip())

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
        """A small table for people; the first `left` columns are text, the others are numbers."""
        if not self.talks:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for index, name in enumerate(header):
            table.add_column(
                Text(name), justify="left" if index < left else "right", overflow="fold", no_wrap=index == 0
            )
        for row in rows:
            table.add_row(*(Text(plain(cell)) for cell in row))
        Console(file=sys.stdout, width=None if sys.stdout.isatty() else _FILE_WIDTH).print(table)

    def result(self, values: dict[str, Any]) -> None:
        """The result for machines: strict JSON, in which a number that is not finite is null."""
        if self.json_only:
            sys.stdout.write(json.dumps(strict(values), allow_nan=False) + "\n")


def nats(value: float | None, error: float | None = None) -> str:
    """A log-likelihood with its standard error, for a table."""
    if value is None:
        return "-"
    return f"{value:.3f}" if error is None else f"{value:.3f} ± {error:.3f}"


def seconds(value: float | None) -> str:
    """A duration, for a table.

    >>> seconds(0.00042), seconds(0.1234), seconds(61.7), seconds(None)
    ('0.4 ms', '0.12 s', '62 s', '-')
    """
    if value is None:
        return "-"
    if value < 0.0995:
        return f"{1e3 * value:.{0 if value >= 0.00995 else 1}f} ms"
    return f"{value:.{0 if value >= 9.95 else 1 if value >= 0.995 else 2}f} s"


def course(history: Any) -> str:
    """How a training went, in one line.

    >>> from pushforward.train import History
    >>> course(History(train=[-1.0], seconds=[2.0], start_from="baseline")).split("; ")[1]
    'a Gaussian or a mixture of normals is kept: no flow was clearly likelier on the validation rows'
    """
    kept = f"epoch {history.best_epoch + 1} is kept"
    if history.best_epoch < 0 and history.start_from == "baseline":
        kept = "a Gaussian or a mixture of normals is kept: no flow was clearly likelier on the validation rows"
    elif history.best_epoch < 0:
        kept = "the start is kept: no epoch was better"
    return (
        f"{len(history.train)} epochs in {seconds(history.seconds[-1])}, {seconds(history.compile_seconds)} of them "
        f"compiling ({history.stop_reason}); {kept}"
    )


def copies(
    kind: str, n_copies: int, n: int, value: float | None, one: str = "row", unit: str = "nats a row"
) -> str:  # fmt: skip
    """How many rows of a test have an equal training row, and what the others score.

    >>> copies("test rows", 300, 400, -1.25)
    '300 of the 400 test rows equal a training row; the other 100 have -1.250 nats a row.'
    >>> copies("test rows", 400, 400, None)
    'All 400 test rows equal a training row.'
    """
    if n_copies == n:
        return f"All {n:,} {kind} equal a training {one}."
    verb = "has" if n - n_copies == 1 else "have"
    return (
        f"{n_copies:,} of the {n:,} {kind} equal{'s' if n_copies == 1 else ''} a training {one}; the other "
        f"{n - n_copies:,} {verb} {nats(value)} {unit}."
    )


def strict(value: Any) -> Any:
    """Plain JSON, in which a number that is not finite is null."""
    if isinstance(value, dict):
        return {str(name): strict(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [strict(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
