"""Entry points, exit codes and closed pipes in separate processes; the program cache; completion in a shell."""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from pushforward._version import __version__
from pushforward.cli import cache
from pushforward.cli.completion import flow_names, model_files


def shell(*arguments, **options):
    code = "import sys; from pushforward.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def test_error_has_no_traceback_and_exit_code_one(tmp_path):
    done = shell("fit", "none.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "pushforward: none.csv: there is no such file: check the name and the folder.\n"
    assert shell("fit", "--nothing").returncode == 2


def test_module_runs_and_debug_shows_the_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "pushforward", "fit", "none.csv", "--debug"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "TableError" in done.stderr


def test_no_command_prints_help():
    done = shell()
    assert done.returncode == 2
    assert done.stderr == ""
    for name in ("demo", "fit", "score", "sample", "show", "check", "gallery", "doctor"):
        assert name in done.stdout


def test_version_is_printed():
    done = shell("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"pushforward {__version__}\n", "")


def test_closed_pipe_causes_no_traceback(model):
    main = "from pushforward.cli import main; main()"
    command = [sys.executable, "-c", main, "show", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert "Traceback" not in errors
    assert "BrokenPipeError" not in errors


@pytest.mark.parametrize("encoding", ["iso8859-2", "ascii", "cp1252", "utf-8"])
def test_unencodable_characters_are_replaced(encoding):
    code = (
        "from pushforward.cli.app import run\n"
        "from pushforward.cli.printer import Printer, format_score\n"
        "run(['--help'])\n"
        "out = Printer(False, False)\n"
        "out.table(['model \\u03b1', 'nats'], [['\\u4e2d\\U0001f600', format_score(1.0, 0.5)]])\n"
        "out.print('\\u4e2d \\u00b1')\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    sign = "+-" if encoding in ("iso8859-2", "ascii") else "\u00b1"
    assert f"1.000 {sign} 0.500" in text
    assert text.rstrip().endswith(f"\u4e2d {sign}" if encoding == "utf-8" else f"\\u4e2d {sign}")


def test_missing_extra_is_named(tmp_path):
    """A finder hides Typer from the interpreter."""
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


def test_all_commands_have_the_common_options():
    from typer.main import get_command

    from pushforward.cli.app import app

    commands = get_command(app).commands
    for name, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--seed", "--json", "--quiet", "--debug"} <= options, name
        assert Path(sys.modules[f"pushforward.cli.{name}"].__file__).name == f"{name}.py"


def test_recipes_named_in_help_exist():
    from typer.main import get_command

    from pushforward.cli.app import app
    from pushforward.recipes import RECIPES

    (flow,) = [part for part in get_command(app).commands["fit"].params if part.name == "flow"]
    recipes = flow.help.removeprefix("Recipe: ").split(" and ")[0].split(", ")
    assert len(recipes) == 3
    assert set(recipes) <= set(RECIPES)


def completions(*arguments, **options):
    """The completions of the last word in bash, by the protocol of Typer's script."""
    protocol = {
        "_PUSHFORWARD_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["pushforward", *arguments]),
        "COMP_CWORD": str(len(arguments)),
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


def test_completion_of_commands_flows_and_model_files(tmp_path):
    for name in ("old.safetensors", "other.safetensors", "old.csv"):
        (tmp_path / name).touch()
    assert completions("sc") == ["score"]
    assert completions("fit", "t.csv", "--flow", "ns") == ["nsf", "nsf_ar"]
    assert completions("show", "ol", cwd=tmp_path) == ["old.safetensors"]
    assert completions("score", "old.safetensors", "ol", cwd=tmp_path) == []  # bash then completes any file


def test_model_files_are_completed_in_the_typed_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("a.safetensors", "sub/b.safetensors", "sub/b.csv"):
        Path(name).touch()
    assert model_files("") == ["a.safetensors"]
    assert model_files("sub/") == ["sub/b.safetensors"]
    assert model_files("su") == model_files("none/x") == []


def test_completed_flows_are_the_recipes():
    from pushforward.recipes import IMAGE_RECIPES, RECIPES

    assert flow_names("") == sorted({**RECIPES, **IMAGE_RECIPES})


def test_completion_script_is_printed():
    done = shell("--show-completion", "bash", env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert done.returncode == 0
    assert "complete_bash" in done.stdout


def cached_programs(folder):
    return sorted(path for path in folder.glob("pushforward/*/*-cache"))


@pytest.mark.slow
def test_cached_programs_give_equal_bits(tmp_path, model, table):
    """Three processes: without a cache, with it, and with a damaged program, which gives one note."""
    import numpy as np

    environment = {name: value for name, value in os.environ.items() if name != cache.SWITCH}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    errors = []
    for run in range(3):
        done = shell("score", model, table, "-o", f"{run}.npy", "--quiet", cwd=tmp_path, env=environment)
        assert (done.returncode, done.stdout) == (0, "")
        errors.append(done.stderr)
        files = cached_programs(tmp_path / "cache")
        if run == 0:
            first = {path: path.stat().st_mtime_ns for path in files}
            assert first
            assert (tmp_path / "cache" / "pushforward").stat().st_mode & 0o777 == 0o700
        if run == 1:
            assert first == {path: path.stat().st_mtime_ns for path in files}
            largest = max(files, key=lambda path: path.stat().st_size)
            largest.write_bytes(largest.read_bytes()[:500])
    assert errors[:2] == ["", ""]
    assert errors[2].startswith("note: a compiled program could not be written to the cache or read from it")
    assert errors[2].count("\n") == 1
    assert cached_programs(tmp_path / "cache") == []
    scores = [np.load(tmp_path / f"{run}.npy") for run in range(3)]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """The cache folder of this test, with the cache switched on."""
    monkeypatch.delenv(cache.SWITCH, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in cache._JAX_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_cache_folder_is_set_only_during_the_command(own_cache):
    with cache.program_cache():
        assert Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).is_relative_to(own_cache / "pushforward")
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(
    ("name", "value"), [(cache.SWITCH, "off"), (cache.SWITCH, "0"), ("JAX_ENABLE_COMPILATION_CACHE", "false")]
)
def test_cache_can_be_switched_off(own_cache, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with cache.program_cache():
        assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert list(own_cache.iterdir()) == []


def test_unusable_cache_folder_gives_one_note(own_cache):
    (own_cache / "pushforward").touch()
    with pytest.warns(UserWarning, match=r"programs are not cached \(.*pushforward.*PUSHFORWARD_CACHE=off") as notes:
        with cache.program_cache():
            assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    assert len(notes) == 1


def test_cache_folder_is_made_private_and_a_link_is_refused(own_cache):
    folder = own_cache / "pushforward"
    folder.mkdir(mode=0o755)
    cache.make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (own_cache / "link").symlink_to(folder)
    with pytest.raises(NotADirectoryError, match="is a link"):
        cache.make_private(own_cache / "link")


def test_oldest_programs_are_removed_above_the_limit(own_cache):
    """JAX in another process compiles four programs with room for some of them: the last stay."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from pushforward.cli.cache import program_cache\n"
        "with program_cache(limit=int(sys.argv[1])):\n"
        "    import jax\n"
        "    folder, sizes, seen = Path(os.environ['JAX_COMPILATION_CACHE_DIR']), [], []\n"
        "    for n in range(4):\n"
        "        jax.jit(lambda x: x + n)(jax.numpy.zeros(n + 1)).block_until_ready()\n"
        "        entries = sorted(folder.glob('*-cache'), key=lambda path: path.stat().st_mtime_ns)\n"
        "        print(sum(entry.stat().st_size for entry in entries), *(entry.name for entry in entries))\n"
    )

    def run(limit):
        command = [sys.executable, "-c", code, str(limit)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return [(int(size), names) for size, *names in map(str.split, done.stdout.splitlines())]

    free = run(2**28)
    assert [len(names) for _, names in free] == sorted(len(names) for _, names in free)
    total, everything = free[-1]
    shutil.rmtree(own_cache)
    own_cache.mkdir()
    limited = run(total // 2)
    assert 0 < max(size for size, _ in limited) <= total // 2
    assert limited[-1][1] == everything[-len(limited[-1][1]) :]


@pytest.mark.parametrize("package", ["filelock", "platformdirs"])
def test_commands_run_without_the_packages_of_the_cache(own_cache, monkeypatch, package):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == package else name)
    with pytest.warns(UserWarning, match=rf"cache of compiled programs needs {package}, .*pushforward\[cli\]"):
        with cache.program_cache():
            assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_other_warnings_are_not_replaced(own_cache):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with cache.program_cache():
            warnings.warn("something else", UserWarning, stacklevel=1)
            for part in "ab":
                warnings.warn(f"Error reading persistent compilation cache entry for '{part}'", stacklevel=1)
    assert [str(warning.message).split(":")[0] for warning in caught] == [
        "something else",
        "a compiled program could not be written to the cache or read from it; the cache is emptied.",
    ]
