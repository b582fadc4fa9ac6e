"""The commands put together, and how faults become one line and an exit code."""

import sys
import warnings

import typer
from typer.main import get_command

from pushforward.cli.check import check
from pushforward.cli.demo import demo
from pushforward.cli.doctor import doctor
from pushforward.cli.fit import fit
from pushforward.cli.printer import plain
from pushforward.cli.sample import sample
from pushforward.cli.score import score
from pushforward.cli.show import show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Normalizing flows for tables: fit a density, score rows, draw samples. Start with: pushforward demo",
)
for command in (demo, fit, score, sample, show, check, doctor):
    app.command()(command)

_INTERRUPTED = 130

# Typer has its own copy of click in some versions and shares it in others: the class by its name is right in both.
_UsageError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

# What a user can cause, and what only a mistake of ours can: one line for each, the second asks for a report.
_FAULTS = (ValueError, ArithmeticError, OSError, ImportError, MemoryError)
_MISTAKES = (TypeError, LookupError, AttributeError, RuntimeError)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code: 0 fine, 1 failed, 2 wrong use."""
    debug = "--debug" in arguments
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in (UserWarning, RuntimeWarning):
            warnings.simplefilter("default", kind)
        warnings.showwarning = _warn
        try:
            outcome = get_command(app).main(arguments, prog_name="pushforward", standalone_mode=False)
        except _UsageError as error:
            return _wrong_use(error)
        except (KeyboardInterrupt, typer.Abort):
            outcome = _INTERRUPTED
        except _FAULTS as error:
            if debug:
                raise
            return _failed(str(error) or type(error).__name__)
        except _MISTAKES as error:
            if debug:
                raise
            return _failed(
                f"{type(error).__name__}: {error}. This should not happen: run the command again with --debug and "
                "report what it prints."
            )
    if outcome == _INTERRUPTED:
        return _failed("interrupted.")
    return outcome if isinstance(outcome, int) else 0


def _wrong_use(error: Exception) -> int:
    """Click's own sentence and where to read more; help for a command without any argument is no error text."""
    sentence, context = getattr(error, "message", str(error)), getattr(error, "ctx", None)
    if hasattr(error, "format_message"):
        sentence = error.format_message()
    if sentence:
        remedy = f" See {context.command_path} --help." if context is not None else ""
        _failed(f"{sentence.rstrip('.')}.{remedy}")
    return 2


def _failed(sentence: str) -> int:
    sys.stderr.write(f"pushforward: {plain(' '.join(sentence.split()))}\n")
    return 1


def _warn(message: Warning | str, category: type[Warning], *place: object) -> None:
    sys.stderr.write(f"note: {plain(' '.join(str(message).split()))}\n")
