"""The command line application: registers the commands, and turns errors into one line and an exit code."""

import contextlib
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from pushforward._version import __version__
from pushforward.cli.cache import with_program_cache
from pushforward.cli.check import check
from pushforward.cli.compare import compare
from pushforward.cli.completion import complete, flow_names, model_files
from pushforward.cli.demo import demo
from pushforward.cli.distill import distill
from pushforward.cli.doctor import doctor
from pushforward.cli.fit import fit
from pushforward.cli.gallery import gallery
from pushforward.cli.printer import escape_unencodable, plain
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
    complete(command, "flow", flow_names)
    complete(command, "model", model_files)
    app.command()(with_program_cache(command))

_INTERRUPTED = 130


def _print_version(is_wanted: bool) -> bool:
    if is_wanted:
        sys.stdout.write(f"pushforward {__version__}\n")
        raise typer.Exit
    return is_wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


# Some versions of Typer contain a copy of click, others import it: looking the class up by name works for both.
_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException" and issubclass(base, Exception)
)

# Errors that a user can cause, and errors that only a bug can; the message for the second kind asks for a report.
_USER_ERRORS = (ValueError, ArithmeticError, OSError, ImportError, MemoryError)
_OUR_ERRORS = (TypeError, LookupError, AttributeError, NameError, RuntimeError)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code: 0 success, 1 failure, 2 wrong usage."""
    debug = "--debug" in arguments
    escape_unencodable(sys.stdout)
    with warnings.catch_warnings(), as_interrupts():
        warnings.simplefilter("ignore")
        for category in (UserWarning, RuntimeWarning):
            warnings.simplefilter("default", category)
        warnings.showwarning = _warn  # ty: ignore[invalid-assignment]
        try:
            code = get_command(app).main(arguments, prog_name="pushforward", standalone_mode=False)
        except _UsageError as error:
            return _report_usage_error(error, arguments)
        except (KeyboardInterrupt, typer.Abort):
            code = _INTERRUPTED
        except _USER_ERRORS as error:
            if debug:
                raise
            return _report(str(error) or type(error).__name__)
        except _OUR_ERRORS as error:
            if debug:
                raise
            return _report(
                f"{type(error).__name__}: {error}. This should not happen: run the command again with --debug and "
                "report what it prints."
            )
    if code == _INTERRUPTED:
        return _report("interrupted.")
    return code if isinstance(code, int) else 0


def _report_usage_error(error: Exception, arguments: list[str]) -> int:
    """Print click's message with the value and the help command; without any argument there is no message."""
    message, context = getattr(error, "format_message", error.__str__)(), getattr(error, "ctx", None)
    if message:
        value = _option_value(getattr(getattr(error, "param", None), "opts", ()), arguments)
        got = f", got {value!r}" if value is not None and repr(value) not in message else ""
        suggestion = f" See {context.command_path} --help." if context is not None else ""
        _report(f"{message.rstrip('.')}{got}.{suggestion}")
    return 2


def _option_value(options: Sequence[str], arguments: list[str]) -> str | None:
    """The value of an option in the arguments, which some versions of Typer leave out of their message."""
    for index, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if option in options:
            return value if equals else next(iter(arguments[index + 1 :]), None)
    return None


def _report(message: str) -> int:
    with contextlib.suppress(OSError):  # the terminal may be closed
        sys.stderr.write(f"pushforward: {plain(' '.join(message.split()))}\n")
    return 1


def _warn(message: Warning | str, category: type[Warning], *details: object) -> None:
    sys.stderr.write(f"note: {plain(' '.join(str(message).split()))}\n")
