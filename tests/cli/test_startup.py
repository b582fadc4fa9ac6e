"""What needs a process of its own: the two entry points, exit codes as a shell sees them, a closed pipe."""

import subprocess
import sys
from pathlib import Path


def shell(*arguments, **options):
    code = "import sys; from pushforward.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def test_a_fault_has_no_traceback_and_its_exit_code(tmp_path):
    done = shell("fit", "none.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pushforward: none.csv: there is no such file: check the name and the folder.\n"
    assert shell("fit", "--nothing").returncode == 2


def test_the_module_runs_too_and_debug_shows_the_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pushforward", "fit", "none.csv", "--debug"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "TableError" in done.stderr


def test_without_a_command_the_help_is_shown():
    done = shell()
    assert done.returncode == 2
    assert done.stderr == ""
    for name in ("demo", "fit", "score", "sample", "show", "check", "gallery", "doctor"):
        assert name in done.stdout


def test_a_reader_that_goes_away_causes_no_traceback(model):
    main = "from pushforward.cli import main; main()"
    command = [sys.executable, "-c", main, "show", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "BrokenPipeError" not in said


def test_what_the_command_line_needs_is_named_when_it_is_absent(tmp_path):
    """Typer is hidden from an interpreter by a finder that refuses it."""
    hide = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'typer':\n"
        "            raise ModuleNotFoundError('hidden', name='typer')\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from pushforward.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", hide, "show"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == 'pushforward: the command line needs typer: pip install "pushforward[cli]".\n'


def test_every_command_has_the_common_options():
    from typer.main import get_command

    from pushforward.cli.app import app

    commands = get_command(app).commands
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--seed", "--json", "--quiet", "--debug"} <= options, name
        assert Path(sys.modules[f"pushforward.cli.{name}"].__file__).name == f"{name}.py"


def test_the_recipes_that_help_names_exist():
    from typer.main import get_command

    from pushforward.cli.app import app
    from pushforward.recipes import RECIPES

    (flow,) = [part for part in get_command(app).commands["fit"].params if part.name == "flow"]
    named = flow.help.removeprefix("Recipe: ").split(" and ")[0].split(", ")
    assert len(named) == 3
    assert set(named) <= set(RECIPES)
