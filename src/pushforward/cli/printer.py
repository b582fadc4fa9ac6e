"""Output of the commands: text and tables for people, one JSON object for machines."""

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

_FILE_WIDTH = 120  # of a table that is not written to a terminal
_QUIET_SECONDS = 2.0  # between progress lines, and before a stage is named


def plain(text: str) -> str:
    """Escape control characters, which a file may contain, so that text cannot control a terminal.

    >>> plain("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    return "".join(
        part if part.isprintable() or part == "\n" else part.encode("unicode_escape").decode() for part in text
    )


_ASCII = {"±": "+-"}  # characters of our tables outside ASCII


def escape_unencodable(stream: object) -> None:
    """Make a stream write characters that its encoding lacks as ASCII: ± as +-, others as an escape."""
    codecs.register_error("pushforward", _encode_fallback)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="pushforward")


def _encode_fallback(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    part = error.object[error.start : error.end]
    return "".join(_ASCII.get(sign, sign.encode("unicode_escape").decode()) for sign in part), error.end


class Printer:
    """Prints results to standard output, as text or as JSON, and progress and notes to standard error.

    Args:
        json_only: print one JSON object instead of text.
        quiet: print no text at all.
    """

    def __init__(self, json_only: bool, quiet: bool) -> None:
        self.json_only, self.prints_text = json_only, not json_only and not quiet

    def print(self, text: str = "") -> None:
        """Print a line of text, unless the output is JSON or quiet."""
        if self.prints_text:
            sys.stdout.write(plain(text) + "\n")
            sys.stdout.flush()

    def print_left_out(self, dropped: int) -> None:
        """Print how many rows are left out for a missing cell, if any."""
        if dropped:
            self.print(f"Left out: {dropped:,} row{'s' * (dropped > 1)} with a missing cell.")

    def warn(self, text: str) -> None:
        """Print a line to standard error that begins with "note:", as warnings do."""
        if self.prints_text:
            self._write_stderr(f"note: {text}")

    @contextlib.contextmanager
    def progress(self) -> Generator[Callable[[str], None]]:
        """Context whose value is a function that shows a progress line on standard error.

        On a terminal each line replaces the last; elsewhere lines are at least two seconds apart.
        """
        if not self.prints_text or not sys.stderr.isatty():
            last = time.monotonic()

            def write(line: str) -> None:
                nonlocal last
                if self.prints_text and time.monotonic() - last >= _QUIET_SECONDS:
                    self._write_stderr(line)
                    last = time.monotonic()

            yield write
            return
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status("starting") as status:
            yield lambda line: status.update(Text(plain(line)))

    @contextlib.contextmanager
    def stage(self, task: str) -> Generator[None]:
        """Context for a part of the work: if it lasts two seconds, its name and its time are printed on standard error.

        Args:
            task: the name of the work, such as "testing the model".
        """
        if not self.prints_text:
            yield
            return
        start = time.monotonic()
        timer = threading.Timer(_QUIET_SECONDS, self._write_stderr, [f"{task} ..."])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
        elapsed = time.monotonic() - start
        if elapsed >= _QUIET_SECONDS:
            self._write_stderr(f"{task}: {format_seconds(elapsed)}")

    @staticmethod
    def _write_stderr(text: str) -> None:
        sys.stderr.write(plain(text) + "\n")
        sys.stderr.flush()

    def facts(self, items: Iterable[tuple[str, object]]) -> None:
        """Print names and values, one pair a line, with the values aligned."""
        lines = [(name, str(value)) for name, value in items]
        width = max((len(name) for name, _ in lines), default=0)
        for name, value in lines:
            self.print(f"{name:<{width}}  {value}".rstrip())

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
        """Print a small table; the first `left` columns are text, the others are numbers."""
        if not self.prints_text:
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
        """Print the result as strict JSON, in which a number that is not finite is null."""
        if self.json_only:
            sys.stdout.write(json.dumps(strict_json(values), allow_nan=False) + "\n")


def format_score(value: float | None, error: float | None = None) -> str:
    """Format a log-likelihood, or bits per dimension, with its standard error."""
    if value is None:
        return "-"
    return f"{value:.3f}" if error is None else f"{value:.3f} ± {error:.3f}"


def format_seconds(value: float | None) -> str:
    """Format a duration.

    >>> format_seconds(0.00042), format_seconds(0.1234), format_seconds(61.7), format_seconds(None)
    ('0.4 ms', '0.12 s', '62 s', '-')
    """
    if value is None:
        return "-"
    if value < 0.0995:
        return f"{1e3 * value:.{0 if value >= 0.00995 else 1}f} ms"
    return f"{value:.{0 if value >= 9.95 else 1 if value >= 0.995 else 2}f} s"


def describe_training(history: Any) -> str:
    """Describe a training run in one line.

    >>> from pushforward.train import History
    >>> describe_training(History(train=[-1.0], seconds=[2.0], start_from="baseline")).split("; ")[1]
    'the model is a Gaussian or a mixture of normals: no flow was clearly likelier on the validation rows'
    """
    result = f"the model is that of epoch {history.best_epoch + 1}"
    if history.best_epoch < 0 and history.start_from == "baseline":
        result = "the model is a Gaussian or a mixture of normals: no flow was clearly likelier on the validation rows"
    elif history.best_epoch < 0:
        result = "the model is the starting point: no epoch was better"
    return (
        f"{len(history.train)} epochs in {format_seconds(history.seconds[-1])}, "
        f"{format_seconds(history.compile_seconds)} of them compiling ({history.stop_reason}); {result}"
    )


def describe_copies(
    kind: str, n_copies: int, n: int, value: float | None, one: str = "row", unit: str = "nats a row"
) -> str:  # fmt: skip
    """State how many rows equal a training row, and the score of the others.

    >>> describe_copies("test rows", 300, 400, -1.25)
    '300 of the 400 test rows equal a training row; the other 100 have -1.250 nats a row.'
    >>> describe_copies("test rows", 400, 400, None)
    'All 400 test rows equal a training row.'
    """
    if n_copies == n:
        return f"All {n:,} {kind} equal a training {one}."
    verb = "has" if n - n_copies == 1 else "have"
    return (
        f"{n_copies:,} of the {n:,} {kind} equal{'s' if n_copies == 1 else ''} a training {one}; the other "
        f"{n - n_copies:,} {verb} {format_score(value)} {unit}."
    )


def print_verdict(out: Printer, certificate: Any, *, most: int = 5) -> None:
    """Print whether a model can be used, in the words of the table, and up to `most` faults with what to do."""
    findings = certificate.findings
    out.print(certificate.summary)
    for index, finding in enumerate(findings[:most]):
        out.print(f"  What to do: {finding.advice}" if index == 0 else f"  Also: {finding.text} {finding.advice}")
    if len(findings) > most:
        out.print(f"  And {len(findings) - most} more.")


def strict_json(value: Any) -> Any:
    """Values for strict JSON: a number that is not finite is None."""
    if isinstance(value, dict):
        return {str(name): strict_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [strict_json(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
