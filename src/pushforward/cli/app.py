"""The commands put together, and how faults become one line and an exit code."""

import sys
import warnings

import typer
from typer.main import get_command

from pushforward.cli.check import check
from pushforward.cli.demo import demo
from pushforward.cli.doctor import doctor
from pushforward.cli.fit import fit
from pushforward.cli.sample import sample
from pushforward.cli.score import score
from pushforward.cli.show import show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Normalizing flows for tables of numbers: fit a density, score rows, draw samples. Start with: pushforward demo",
)
for command in (demo, fit, score, sample, show, check, doctor):
    app.command()(command)

# What a user can cause: one line each. Anything else is a fault of ours and shows its traceback.
_FAULTS = (ValueError, ArithmeticError, OSError, ImportError, TypeError, MemoryError)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code: 0 fine, 1 failed, 2 wrong use."""
    debug = "--debug" in arguments
    warnings.showwarning = _warn
    try:
        outcome = get_command(app).main(arguments, prog_name="pushforward", standalone_mode=False)
    except _usage_errors() as error:
        sys.stderr.write(f"pushforward: {error.format_message()}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("pushforward: interrupted; nothing was written.\n")
        return 1
    except _FAULTS as error:
        if debug:
            raise
        sys.stderr.write(f"pushforward: {' '.join(str(error).split()) or type(error).__name__}\n")
        return 1
    return outcome if isinstance(outcome, int) else 0


def _usage_errors() -> tuple[type[Exception], ...]:
    """Typer brings its own copy of click in some versions: take the class from the command it made."""
    import importlib.util

    names = [name for name in ("click", "typer._click") if importlib.util.find_spec(name.split(".")[0])]
    classes = []
    for name in names:
        module = sys.modules.get(f"{name}.exceptions")
        if module is not None:
            classes.append(module.ClickException)
    return tuple(classes)


def _warn(message: Warning | str, category: type[Warning], *place: object) -> None:
    sys.stderr.write(f"note: {message}\n")
