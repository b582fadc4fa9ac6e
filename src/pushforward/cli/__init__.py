"""The command line: one file per command; nothing heavy is imported before a command runs."""

import sys


def main() -> None:
    """Entry point of `pushforward` and of `python -m pushforward`."""
    try:
        try:
            from pushforward.cli.app import run
        except ModuleNotFoundError as error:
            if error.name not in ("typer", "rich", "click"):
                raise
            sys.exit(f'pushforward: the command line needs {error.name}: pip install "pushforward[cli]".')
        sys.exit(run(sys.argv[1:]))
    except KeyboardInterrupt:  # while modules are imported, or while a message is printed
        sys.exit("pushforward: interrupted.")
