"""The architecture: imports run one way, files are short, no dangerous call, and a cheap start-up."""

import ast
import subprocess
import sys

import architecture
import pytest

LONGEST_FILE = 350

PICKLING = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def forbidden(module: str, source: str) -> list[str]:
    """One message for each statement that a library which reads untrusted files must not contain."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Assert):
            wrong.append(f"{where} asserts: raise an error instead")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            wrong += [f"{where} imports {name}" for name in names if name.split(".")[0] in PICKLING]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if isinstance(node.func, ast.Name) and name in ("eval", "exec", "compile"):
                wrong.append(f"{where} calls {name}")
            literal = bool(node.args) and isinstance(node.args[0], ast.Constant)
            if name in ("import_module", "__import__") and not literal and module != "pushforward":
                wrong.append(f"{where} imports a module by a computed name")
            if name == "load" and any(
                word.arg == "allow_pickle" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                for word in node.keywords
            ):
                wrong.append(f"{where} lets NumPy unpickle")
    return wrong


def loaded_after(code: str, names: set[str]) -> set[str]:
    """Which of the named top-level modules are loaded in a new interpreter after running the code."""
    report = f"import sys\n{code}\nprint('LOADED', *sorted({names!r} & {{m.split('.')[0] for m in sys.modules}}))"
    process = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return set(process.stdout.splitlines()[-1].split()[1:])


def test_architecture_reads_the_sources():
    assert architecture.read().keys() >= {"pushforward", "pushforward.core.bijection", "pushforward.core.flow"}


def test_imports_run_one_way():
    _, wrong = architecture.graph_of(architecture.read())
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("pushforward.core.bijection", "import pushforward.bases"),
        ("pushforward.core.bijection", "from pushforward import bases"),
        ("pushforward.core.flow", "from pushforward.recipes import nsf"),
        ("pushforward.networks.mlp", "from pushforward.bijections.coupling import Coupling"),
        ("pushforward.networks.mlp", "from ..bijections.coupling import Coupling"),
        ("pushforward.recipes.nice", "def late():\n    from pushforward.train.likelihood import fit"),
        (
            "pushforward.numerics.roots",
            "if TYPE_CHECKING:\n    from pushforward.core.bijection import AbstractBijection",
        ),
        ("pushforward.core.distribution", "from pushforward.bases.normal import Normal"),
        ("pushforward.diagnostics.certify", "from pushforward.train import fit"),
        ("pushforward.errors", "from pushforward.numerics import arrays"),
        ("pushforward.attic.box", "from pushforward.core.flow import Flow"),
    ],
)
def test_a_wrong_import_is_detected(module, code):
    imports = architecture.imports_of(module, code, architecture.read())
    assert len([name for _, name in imports if architecture.broken_order(module, name)]) == 1


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("pushforward.core.flow", "from pushforward.core.bijection import AbstractBijection\nimport jax"),
        ("pushforward.bijections.coupling", "from pushforward.bijections.scalar import TRANSFORMERS"),
        ("pushforward.bases.normal", "from pushforward.core.distribution import AbstractDistribution"),
        ("pushforward.cli.fit", "from pushforward.train import fit"),
        ("pushforward.numerics.roots", "from pushforward.errors import ShapeError"),
    ],
)
def test_an_allowed_import_passes(module, code):
    imports = architecture.imports_of(module, code, architecture.read())
    assert not [name for _, name in imports if architecture.broken_order(module, name)]


def test_a_cycle_is_detected():
    assert architecture.cycle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert architecture.cycle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_sources_contain_nothing_dangerous():
    wrong = [
        s for module, path in architecture.read().items() for s in forbidden(module, path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "assert x > 0",
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "exec(code)",
        "importlib.import_module(name)",
        "import_module(header['class'])",
        "__import__(name)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_dangerous_statements_are_detected(source):
    assert len(forbidden("pushforward.persistence", source)) == 1


def test_files_are_short():
    lengths = {
        module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in architecture.read().items()
    }
    long = {module: length for module, length in lengths.items() if length > LONGEST_FILE}
    assert not long, f"longer than {LONGEST_FILE} lines, split them: {long}"


def test_import_loads_no_extra():
    extras = {"polars", "matplotlib", "jinja2", "rich", "typer", "sklearn", "optax", "numpyro", "flowjax"}
    assert loaded_after("import pushforward", extras) == set()


@pytest.mark.parametrize("command", ["", "demo", "fit", "score", "sample", "show", "check", "gallery", "doctor"])
def test_help_does_not_load_jax(command):
    code = (
        f"sys.argv = ['pushforward', *{command.split()!r}, '--help']\n"
        "from pushforward.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )
    heavy = {"jax", "jaxlib", "equinox", "optax", "polars", "matplotlib", "jinja2", "sklearn", "scipy"}
    assert loaded_after(code, heavy) == set()
