"""The house rules: imports flow one way, files stay short, nothing dangerous, and starting up is cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "pushforward"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE = 350

# A room is a file or folder of src/pushforward, or of bijections/. It may import rooms of lower floors only.
FLOORS = (
    ("errors", "_version", "atomic_write", "precision", "moments"),
    ("named_rows", "neighbours", "numerics"),
    ("fields",),
    ("stacked",),
    ("tangents", "linear_maps"),
    ("bijection", "fixed_point", "recompute", "roots", "programs"),
    ("compose", "repeat", "reshape", "networks"),
    ("state", "circles", "boundary"),
    ("bijections",),
    ("bases", "distribution"),
    ("flow", "dequantise", "rounded"),
    ("recipes", "lengths", "persistence", "diagnostics", "datasets", "double"),
    ("train", "baselines"),
    ("columns",),
    ("estimator", "leaderboard", "plots", "numpyro"),
    ("report", "gallery"),
    ("tables", "cli"),
    ("__init__", "__main__"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# The edges between rooms of one floor that are wanted, each for a reason. What else two rooms share moves down.
SIBLINGS = {
    # The scalar bijections are the transformers of these layers, found by name in one table that lives beside them.
    ("bijections.coupling", "bijections.elementwise"),
    ("bijections.autoregressive", "bijections.elementwise"),
    ("bijections.convolutional", "bijections.elementwise"),
    # Couplings of images part them as those of vectors do.
    ("bijections.convolutional", "bijections.partitions"),
    # The kernel of a convolution has, at its centre, a matrix of channels that must stay regular.
    ("bijections.convolutional", "bijections.linear"),
    # A Sylvester layer works in the frame of a rotation.
    ("bijections.planar_radial", "bijections.linear"),
    # A stack of chains undoes their parts one by one.
    ("repeat", "compose"),
    # A base is a distribution: it inherits the one batching boundary.
    ("bases", "distribution"),
    # The commands read and write tables; no other room does.
    ("cli", "tables"),
    ("__main__", "__init__"),
}

PICKLING = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def module_of(path: Path) -> str:
    """`pushforward.bijections.coupling` for its file; a folder's front door counts as the folder."""
    parts = ("pushforward", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if len(parts) > 2 and parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The room of a module: the first name below pushforward, and below bijections the second too."""
    names = module.split(".")[1:] or ["__init__"]
    return ".".join(names[: 2 if names[0] == "bijections" else 1])


def imports_of(module: str, source: str, is_folder: bool = False) -> list[tuple[int, str]]:
    """Every module of the library that a file imports, at any depth, `if TYPE_CHECKING:` included, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                package = module.split(".")[: None if is_folder else -1]
                start = ".".join(package[: len(package) - node.level + 1] + ([start] if start else []))
            if start in ("pushforward", "pushforward.bijections"):  # what follows may be a room of its own
                found += [(node.lineno, resolve(start, alias.name)) for alias in node.names]
            else:
                found.append((node.lineno, start))
    return [(line, name) for line, name in found if name.split(".")[0] == "pushforward"]


def resolve(package: str, name: str) -> str:
    """`pushforward.flow` for `from pushforward import flow`, but `pushforward` for a name that its front door gives."""
    folder = SOURCE.joinpath(*package.split(".")[1:])
    is_module = (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    return f"{package}.{name}" if is_module else package


def wrong_imports(module: str, source: str, is_folder: bool = False) -> list[str]:
    """One sentence for each import that goes to a higher floor or sideways."""
    here, wrong = room_of(module), []
    if here.split(".")[0] not in FLOOR_OF:
        return [f"{module}: the room {here!r} has no floor yet: give it one in tests/test_house.py"]
    for line, imported in imports_of(module, source, is_folder):
        there = room_of(imported)
        if there.split(".")[0] not in FLOOR_OF:
            wrong.append(f"{module}:{line} imports {imported}, whose room has no floor yet")
        elif not may_import(here, there):
            wrong.append(f"{module}:{line} imports {imported}: {here} may not import {there}, which is not below it")
    return wrong


def may_import(here: str, there: str) -> bool:
    floor_here, floor_there = FLOOR_OF[here.split(".")[0]], FLOOR_OF[there.split(".")[0]]
    if floor_here != floor_there:
        return floor_there < floor_here
    is_front_door = here == "bijections" and there.startswith("bijections.")  # it exports what its rooms make
    return here == there or is_front_door or (here, there) in SIBLINGS


def forbidden(module: str, source: str) -> list[str]:
    """One sentence for each statement that a library which reads strangers' files must not contain."""
    wrong = []
    for node in ast.walk(ast.parse(source)):
        where = f"{module}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Assert):
            wrong.append(f"{where} asserts: raise an error with a sentence")
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            wrong += [f"{where} imports {name}" for name in names if name.split(".")[0] in PICKLING]
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if isinstance(node.func, ast.Name) and name in ("eval", "exec", "compile"):
                wrong.append(f"{where} calls {name}")
            literal = bool(node.args) and isinstance(node.args[0], ast.Constant)
            if name in ("import_module", "__import__") and not literal and module != "pushforward.__init__":
                wrong.append(f"{where} imports a module by a computed name")
            if name == "load" and any(
                word.arg == "allow_pickle" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                for word in node.keywords
            ):
                wrong.append(f"{where} lets NumPy unpickle")
    return wrong


def loaded_after(code: str, names: set[str]) -> set[str]:
    """Which of the named top-level modules a fresh interpreter holds after running the code."""
    report = f"import sys\n{code}\nprint('LOADED', *sorted({names!r} & {{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_sources_are_found():
    assert {module_of(path) for path in FILES} >= {"pushforward.__init__", "pushforward.bijection", "pushforward.flow"}


def test_imports_flow_one_way():
    wrong = [
        sentence
        for path in FILES
        for sentence in wrong_imports(module_of(path), path.read_text(encoding="utf-8"), path.name == "__init__.py")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pushforward.bijection", "import pushforward.flow"),
        ("pushforward.bijection", "from pushforward import flow"),
        ("pushforward.flow", "from pushforward import nsf"),
        ("pushforward.flow", "import pushforward as pf"),
        ("pushforward.networks.mlp", "from pushforward.compose import Chain"),
        ("pushforward.networks.mlp", "from ..compose import Chain"),
        ("pushforward.recipes.nice", "def late():\n    from pushforward.train.likelihood import fit"),
        ("pushforward.numerics", "if TYPE_CHECKING:\n    from pushforward.bijection import AbstractBijection"),
        ("pushforward.distribution", "from pushforward.bases.normal import Normal"),
        ("pushforward.bijections.linear.lu", "from pushforward.bijections.elementwise import Affine"),
        ("pushforward.bijections.elementwise.affine", "from pushforward.bijections.coupling import Coupling"),
        ("pushforward.bijections.linear.lu", "from pushforward.bijections import Coupling"),
        ("pushforward.attic", "import math"),
    ],
)
def test_a_wrong_import_is_seen(module, source):
    assert len(wrong_imports(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pushforward.flow", "from pushforward.bijection import AbstractBijection\nimport jax"),
        ("pushforward.bijections.coupling", "from pushforward.bijections.elementwise import TRANSFORMERS"),
        ("pushforward.bijections.linear.lu", "from pushforward.bijections.linear.permutation import Permutation"),
        ("pushforward.bases.normal", "from pushforward.distribution import AbstractDistribution"),
        ("pushforward.cli.fit", "from pushforward.train import fit"),
    ],
)
def test_a_right_import_is_let_through(module, source):
    assert wrong_imports(module, source) == []


def test_nothing_dangerous_in_the_sources():
    wrong = [s for path in FILES for s in forbidden(module_of(path), path.read_text(encoding="utf-8"))]
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
def test_something_dangerous_is_seen(source):
    assert len(forbidden("pushforward.persistence", source)) == 1


def test_files_are_short():
    lengths = {module_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {module: length for module, length in lengths.items() if length > LONGEST_FILE}
    assert not long, f"longer than {LONGEST_FILE} lines, so two ideas: {long}"


def test_import_loads_no_extra():
    extras = {"polars", "matplotlib", "rich", "typer", "sklearn", "optax", "numpyro"}
    assert loaded_after("import pushforward", extras) == set()


@pytest.mark.parametrize("command", ["", "demo", "fit", "score", "sample", "show", "check", "gallery", "doctor"])
def test_help_does_not_load_jax(command):
    code = (
        f"sys.argv = ['pushforward', *{command.split()!r}, '--help']\n"
        "from pushforward.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )
    heavy = {"jax", "jaxlib", "equinox", "optax", "polars", "matplotlib", "sklearn", "scipy"}
    assert loaded_after(code, heavy) == set()
