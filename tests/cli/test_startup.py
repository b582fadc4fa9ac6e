"""What needs a process of its own: the two entry points, exit codes as a shell sees them, a closed pipe.

And what goes on around a command: programs that are kept, words that a shell offers.
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from pushforward.cli import cache
from pushforward.cli.completion import FLOWS, model_files


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


@pytest.mark.parametrize("encoding", ["iso8859-2", "ascii", "cp1252", "utf-8"])
def test_a_character_that_the_output_cannot_hold_is_replaced(encoding):
    code = (
        "from pushforward.cli.app import run\n"
        "from pushforward.cli.printer import Printer, nats\n"
        "run(['--help'])\n"
        "out = Printer(False, False)\n"
        "out.table(['model \\u03b1', 'nats'], [['\\u4e2d\\U0001f600', nats(1.0, 0.5)]])\n"
        "out.say('\\u4e2d \\u00b1')\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    said = done.stdout.decode(encoding)
    sign = "+-" if encoding in ("iso8859-2", "ascii") else "\u00b1"
    assert f"1.000 {sign} 0.500" in said
    assert said.rstrip().endswith(f"\u4e2d {sign}" if encoding == "utf-8" else f"\\u4e2d {sign}")


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


def offered(*words, **options):
    """What bash would offer for the last word, by the protocol of Typer's script."""
    protocol = {
        "_PUSHFORWARD_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["pushforward", *words]),
        "COMP_CWORD": str(len(words)),
    }
    code = (
        "import sys\nsys.argv = ['pushforward']\nfrom pushforward.cli import main\n"
        "try:\n    main()\nfinally:\n    print('JAX' if 'jax' in sys.modules else '', file=sys.stderr, end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | protocol, **options
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


def test_the_shell_is_offered_commands_flows_and_model_files(tmp_path):
    for name in ("old.safetensors", "other.safetensors", "old.csv"):
        (tmp_path / name).touch()
    assert offered("sc") == ["score"]
    assert offered("fit", "t.csv", "--flow", "ns") == ["nsf", "nsf_ar"]
    assert offered("show", "ol", cwd=tmp_path) == ["old.safetensors"]
    assert offered("score", "old.safetensors", "ol", cwd=tmp_path) == []  # bash then offers files of any kind


def test_model_files_are_offered_in_the_folder_that_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("a.safetensors", "sub/b.safetensors", "sub/b.csv"):
        Path(name).touch()
    assert model_files("") == ["a.safetensors"]
    assert model_files("sub/") == ["sub/b.safetensors"]
    assert model_files("su") == model_files("none/x") == []


def test_the_flows_that_a_shell_is_offered_are_the_recipes():
    from pushforward.recipes import IMAGE_RECIPES, RECIPES

    assert FLOWS == (*RECIPES, *IMAGE_RECIPES)


def test_the_script_for_a_shell_is_shown():
    done = shell("--show-completion", "bash", env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert done.returncode == 0
    assert "complete_bash" in done.stdout


def kept(folder):
    return sorted(path for path in folder.glob("pushforward/*/*") if path.is_file())


def test_programs_are_kept_and_give_equal_bits(tmp_path, model, table):
    """Three runs in processes of their own: new, kept, and with one damaged program, which costs one note."""
    import numpy as np

    environment = {name: value for name, value in os.environ.items() if name != cache.SWITCH}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    said = []
    for turn in range(3):
        done = shell("score", model, table, "-o", f"{turn}.npy", "--quiet", cwd=tmp_path, env=environment)
        assert (done.returncode, done.stdout) == (0, "")
        said.append(done.stderr)
        found = kept(tmp_path / "cache")
        if turn == 0:
            first = {path: path.stat().st_mtime_ns for path in found}
            assert first
            assert (tmp_path / "cache" / "pushforward").stat().st_mode & 0o777 == 0o700
        if turn == 1:
            assert first == {path: path.stat().st_mtime_ns for path in found}
            largest = max(found, key=lambda path: path.stat().st_size)
            largest.write_bytes(largest.read_bytes()[:500])
    assert said[:2] == ["", ""]
    assert said[2].startswith("note: a compiled program could not be kept or read again")
    assert said[2].count("\n") == 1
    assert kept(tmp_path / "cache") == []
    scores = [np.load(tmp_path / f"{turn}.npy") for turn in range(3)]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """The folder of caches of this test; the switch is on."""
    monkeypatch.delenv(cache.SWITCH, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in cache._OF_JAX:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_jax_is_told_of_the_folder_for_the_time_of_the_command(own_cache):
    with cache.programs_kept():
        assert Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).is_relative_to(own_cache / "pushforward")
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(
    ("name", "value"), [(cache.SWITCH, "off"), (cache.SWITCH, "0"), ("JAX_ENABLE_COMPILATION_CACHE", "false")]
)
def test_the_switch_is_off(own_cache, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with cache.programs_kept():
        assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert list(own_cache.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_one_note(own_cache):
    (own_cache / "pushforward").touch()
    with pytest.warns(UserWarning, match=r"programs are not kept \(.*pushforward.*PUSHFORWARD_CACHE=off") as notes:
        with cache.programs_kept():
            assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert len(notes) == 1


def test_a_folder_that_others_may_enter_is_closed_and_a_link_is_refused(own_cache):
    folder = own_cache / "pushforward"
    folder.mkdir(mode=0o755)
    cache.private_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (own_cache / "link").symlink_to(folder)
    with pytest.raises(NotADirectoryError, match="is a link"):
        cache.private_folder(own_cache / "link")


def test_above_the_limit_the_oldest_programs_go(own_cache):
    with cache.programs_kept():
        folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    for age, name in enumerate(("new", "middle", "old")):
        (folder / name).write_bytes(bytes(1000))
        os.utime(folder / name, (10**9 - age, 10**9 - age))
    with cache.programs_kept(limit=3000):
        assert len(list(folder.iterdir())) == 3
    with cache.programs_kept(limit=2500):
        assert {path.name for path in folder.iterdir()} == {"new", "middle"}


def test_other_warnings_pass_by_the_one_note(own_cache):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with cache.programs_kept():
            warnings.warn("something else", UserWarning, stacklevel=1)
            for part in "ab":
                warnings.warn(f"Error reading persistent compilation cache entry for '{part}'", stacklevel=1)
    assert [str(warning.message).split(":")[0] for warning in seen] == [
        "something else",
        "a compiled program could not be kept or read again; those that were kept are removed.",
    ]
