"""The commands put together, and how faults become one line and an exit code."""

import contextlib
import sys
import warnings
from collections.abc import Sequence

import typer
from typer.main import get_command

from pushforward.cli.cache import keeping_programs
from pushforward.cli.check import check
from pushforward.cli.compare import compare
from pushforward.cli.completion import flow_names, model_files, offer
from pushforward.cli.demo import demo
from pushforward.cli.distill import distill
from pushforward.cli.doctor import doctor
from pushforward.cli.fit import fit
from pushforward.cli.gallery import gallery
from pushforward.cli.printer import hold_any_text, plain
from pushforward.cli.sample import sample
from pushforward.cli.score import score
from pushforward.cli.show import show
from pushforward.cli.signals import as_interrupts

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Normalizing flows for tables: fit a density, score rows, draw samples. Start with: pushforward demo",
)
for command in (demo, fit, compare, score, sample, show, check, distill, gallery, doctor):
    offer(command, "flow", flow_names)
    offer(command, "model", model_files)
    app.command()(keeping_programs(command))

_INTERRUPTED = 130

# Typer has its own copy of click in some versions and shares it in others: the class by its name is right in both.
_UsageError: type[Exception] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException" and issubclass(kind, Exception)
)

# What a user can cause, and what only a mistake of ours can: one line for each, the second asks for a report.
_FAULTS = (ValueError, ArithmeticError, OSError, ImportError, MemoryError)
_MISTAKES = (TypeError, LookupError, AttributeError, NameError, RuntimeError)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code: 0 fine, 1 failed, 2 wrong use."""
    debug = "--debug" in arguments
    hold_any_text(sys.stdout)
    with warnings.catch_warnings(), as_interrupts():
        warnings.simplefilter("ignore")
        for kind in (UserWarning, RuntimeWarning):
            warnings.simplefilter("default", kind)
        warnings.showwarning = _warn  # ty: ignore[invalid-assignment]
        try:
            outcome = get_command(app).main(arguments, prog_name="pushforward", standalone_mode=False)
        except _UsageError as error:
            return _wrong_use(error, arguments)
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


def _wrong_use(error: Exception, arguments: list[str]) -> int:
    """Click's own sentence, the value, and where to read more; help for lack of any argument is no error text."""
    sentence, context = getattr(error, "format_message", error.__str__)(), getattr(error, "ctx", None)
    if sentence:
        value = _value_of(getattr(getattr(error, "param", None), "opts", ()), arguments)
        got = f", got {value!r}" if value is not None and repr(value) not in sentence else ""
        remedy = f" See {context.command_path} --help." if context is not None else ""
        _failed(f"{sentence.rstrip('.')}{got}.{remedy}")
    return 2


def _value_of(options: Sequence[str], arguments: list[str]) -> str | None:
    """What the user wrote after an option, which some versions of Typer leave out of their sentence."""
    for index, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if option in options:
            return value if equals else next(iter(arguments[index + 1 :]), None)
    return None


def _failed(sentence: str) -> int:
    with contextlib.suppress(OSError):  # a terminal that was closed
        sys.stderr.write(f"pushforward: {plain(' '.join(sentence.split()))}\n")
    return 1


def _warn(message: Warning | str, category: type[Warning], *place: object) -> None:
    sys.stderr.write(f"note: {plain(' '.join(str(message).split()))}\n")
