"""Guards: every concrete class has a zoo row, every public docstring its parts, and public names are listed."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import equinox as eqx
import jax
import pytest
from zoo import ALL_ROWS, BASES, IMAGE_RECIPES, RECIPES, SCALARS

import pushforward as pf
import pushforward.recipes
from pushforward.core.bijection import AbstractBijection
from pushforward.core.dequantised import Dequantised
from pushforward.core.discretised import Discretised
from pushforward.core.distribution import AbstractDistribution
from pushforward.core.flow import Flow, Given
from pushforward.flowjax import FlowJAXDistribution
from pushforward.networks import AbstractNetwork

PUBLIC = {
    # and every recipe, by its row in zoo.RECIPES or zoo.IMAGE_RECIPES
    "pushforward": """ConditionalFlowDensity Dequantised Discretised Ensemble Flow FlowDensity __version__ bases
        bijections bits_per_dim cast check compare datasets dequantisation_flow diagnostics distill ensemble export
        finalise fit fit_target freeze freeze_all_but importance_sample initialise insert_layer load networks of_length
        refresh remove_layer replace_layer save space_flow summary trainable""",
    # and every scalar bijection, by its row in zoo.SCALARS
    "pushforward.bijections": """PLU TRANSFORMERS AbstractBijection AbstractLogDet AbstractScalarBijection
        ActivationNormalisation BlockAutoregressive Cayley Chain ColumnMaps Conditional ConditionalSplit
        Contractive Coupling Dense Diagonal Elementwise EmergingConvolution Exact Householder ImageCoupling
        Inverse LinearPrediction LinearRegression LowRank MarginalGaussianization MaskedAutoregressive
        MaskedConvolution MatrixExponential OneByOne PeriodicConvolution Permutation PixelSigmoid Planar
        PowerSeries Radial Repeat Reshape RussianRoulette Split SplitChannels Squeeze Standardise
        StickBreaking Sylvester Triangular Whiten alternating apply_transformer
        channel_wise checkerboard from_sphere halves n_parameters random_half stack_equal to_sphere
        transformer_named""",
    "pushforward.bases": """AbstractDistribution ConditionalBase Logistic Mixture MultivariateNormal Normal
        Product StudentT TruncatedNormal Uniform""",
    "pushforward.networks": """ACTIVATIONS MLP AbstractAutoregressiveNetwork AbstractNetwork CausalAttention
        CausalConvolution MaskedMLP AttentionBlock ConvNet LIPSCHITZ_ACTIVATIONS AbstractLipschitzNetwork LipschitzConv
        LipschitzConvNet LipschitzDense LipschitzMLP PeriodicInputs ResidualMLP ZeroInitialised bounds_in checked_order
        GraphMLP checked_adjacency vector_norm""",
    "pushforward.recipes": "",
    "pushforward.numpyro": "AutoPushforward FlowDistribution FlowTransform",
    "pushforward.flowjax": """FlowJAXBijection FlowJAXDistribution PushforwardBijection PushforwardDistribution
        from_flowjax to_flowjax""",
}


def modules():
    """Every module of the package except the command line, which loads heavy extras."""
    names = [m.name for m in pkgutil.walk_packages(pf.__path__, "pushforward.") if ".cli" not in m.name]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def concrete(base):
    """The concrete public subclasses of a class, by name."""
    classes = {}
    for module in modules():
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, base) and value.__module__ == module.__name__:
                if not inspect.isabstract(value) and not name.startswith(("_", "Abstract")):
                    classes[name] = value
    return classes


def classes_in(tree):
    """The classes of all modules in a tree."""
    stop = lambda node: isinstance(node, eqx.Module)  # noqa: E731
    classes = set()

    def visit(node):
        if isinstance(node, eqx.Module):
            classes.add(type(node))
            children = [getattr(node, field.name, None) for field in dataclasses.fields(node)]
        else:
            children = jax.tree.leaves(node, is_leaf=stop)
        for child in children:
            for inner in jax.tree.leaves(child, is_leaf=stop):
                if isinstance(inner, eqx.Module):
                    visit(inner)

    visit(tree)
    return classes


def public_names():
    """(qualified name, object) of every public class and function."""
    public = {}
    for name in PUBLIC:
        module = importlib.import_module(name)
        for attribute in module.__all__:
            value = getattr(module, attribute)
            if inspect.isclass(value) or inspect.isfunction(value):
                public[f"{value.__module__}.{attribute}"] = value
    return sorted(public.items())


def test_every_bijection_has_a_row():
    layers = [row for row in ALL_ROWS if row.flow is None]  # the parts of a recipe must have their own rows
    with_rows = set().union(*(classes_in(row.build()) for row in layers))
    missing = [name for name, kind in concrete(AbstractBijection).items() if kind not in with_rows]
    assert not missing, f"no row in tests/support/zoo for {missing}"


def test_every_base_has_a_row():
    with_rows = {type(base.build()) for base in BASES.values()} | {Flow, Given, Dequantised, Discretised}
    with_rows |= {FlowJAXDistribution}  # tests/flowjax
    missing = [name for name, kind in concrete(AbstractDistribution).items() if kind not in with_rows]
    assert not missing, f"no entry in zoo.BASES for {missing}"


def test_every_recipe_has_a_row():
    assert {recipe.make for recipe in RECIPES.values()} == set(pushforward.recipes.RECIPES.values())
    assert {recipe.make for recipe in IMAGE_RECIPES.values()} == set(pushforward.recipes.IMAGE_RECIPES.values())


def test_row_names_are_unique():
    names = [row.name for row in ALL_ROWS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module):
    """Adding or removing a public name is a decision: change the list above with it."""
    expected = set(PUBLIC[module].split())
    if module == "pushforward.bijections":
        expected |= {type(s.build()).__name__ for s in SCALARS.values()}
    if module in ("pushforward", "pushforward.recipes"):
        expected |= {r.make.__name__ for r in (*RECIPES.values(), *IMAGE_RECIPES.values())}
    assert set(importlib.import_module(module).__all__) == expected


@pytest.mark.parametrize("name", ["pushforward", "pushforward.bijections"])
def test_public_names_exist(name):
    module = importlib.import_module(name)
    absent = [n for n in module.__all__ if n not in ("check", "load", "save") and not hasattr(module, n)]
    assert not absent


def sections(text):
    """The docstring before its first section, and its sections by name."""
    parts = re.split(r"^\s*(Args|Returns|Raises|Cost|Reference|Example|Leaves)\b[^:\n]*:", text, flags=re.MULTILINE)
    return parts[0].strip(), dict(zip(parts[1::2], (p.strip() for p in parts[2::2]), strict=True))


@pytest.mark.parametrize(("name", "value"), public_names(), ids=lambda v: v if isinstance(v, str) else "")
def test_docstrings(name, value):
    text = inspect.getdoc(value) or ""
    summary, section = sections(text)
    first = summary.split("\n")[0]
    assert first, "no docstring"
    assert len(first) <= 120, "the first line is too long"
    if inspect.isclass(value) and inspect.isabstract(value):
        return
    assert ">>>" in section.get("Example", ""), "no tested example"
    is_map = inspect.isclass(value) and issubclass(value, AbstractBijection)
    is_recipe = ".recipes." in f"{value.__module__}."
    parameters = [p for p in inspect.signature(value).parameters if p not in ("self", "args", "kwargs")]
    if inspect.isclass(value) or is_recipe:
        documented = section.get("Args", "")
        undocumented = [p for p in parameters if not re.search(rf"(^|[\s,]){p}\b", documented)]
        assert not undocumented, f"Args lacks {undocumented}"
    if is_map or is_recipe or (inspect.isclass(value) and issubclass(value, AbstractDistribution | AbstractNetwork)):
        if value is not Given:
            assert re.search(r"=|\+|`.*\(.*`", summary), "no formula"
            assert "Cost" in section, "no cost"
            assert "Reference" in section, "no reference"
            assert re.search(r"\d{4}|elementary", section["Reference"]), "the reference has no year"


def test_files_with_marked_tests_run_as_compiled():
    folder = Path(__file__).parent
    marked = {path for path in folder.rglob("test_*.py") if "pytest.mark." + "as_compiled" in path.read_text()}
    runner = (folder / "run.py").read_text()
    assert [p for p in marked if p.name != "test_battery.py" and f'"tests/{p.relative_to(folder)}"' not in runner] == []
