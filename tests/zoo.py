"""The registry of every bijection, base and recipe, one row each: what the battery runs over.

A new scalar bijection needs one entry in `SCALARS`; a new recipe one in `RECIPES`. A guard fails where a concrete class
of the library has no row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

import pushforward as pf
from pushforward.bijection import AbstractBijection
from pushforward.bijections import (
    PLU,
    Affine,
    BlockAutoregressive,
    Cayley,
    Chain,
    CircularSpline,
    Conditional,
    Coupling,
    Dense,
    Diagonal,
    Elementwise,
    Exp,
    Householder,
    Inverse,
    LeakyReLU,
    LowRank,
    MaskedAutoregressive,
    MixtureLogistic,
    MixtureNormal,
    Permutation,
    RationalQuadraticSpline,
    Repeat,
    Reshape,
    Sigmoid,
    SinhArcsinh,
    Softplus,
    Split,
    Squeeze,
    Standardise,
    Tanh,
    Translation,
    Triangular,
    Whiten,
    alternating,
    checkerboard,
    halves,
    n_parameters,
    transformer_named,
)
from pushforward.distribution import AbstractDistribution
from pushforward.fields import count_parameters
from pushforward.networks import MLP, CausalAttention, MaskedMLP

CONTEXT_DIM = 2
LINE, POSITIVE, UNIT, OPEN, CIRCLE = "line", "positive", "(0, 1)", "(-1, 1)", "circle"


@dataclass(frozen=True)
class Row:
    """One bijection and what is known of it.

    Attributes:
        name: unique, and the test's id.
        build: makes it with its start weights.
        tolerance: class in `tolerances.TOLERANCES`.
        z_side, x_side: the sets between which it maps.
        largest: greatest |z| and |x| at which values and Jacobians must still be finite in float32.
        largest_gradient: the same for gradients of weights; 1e15 where a coordinate is multiplied by what a network
            makes of another one, since the gradient is then a product of two coordinates.
        places: further points where formulas change (knots, edges of a box).
        spread: deviation of the random weights that are added to every trained leaf.
        depends: bool (D, D) on the flattened event, whether x_i depends on z_j; None where everything may.
        context_reaches: bool (D,), which outputs the context must move; None for all.
        is_identity: whether the start weights give the identity.
        dead: reason why some trained leaf has no influence, or "".
        flow: makes the whole flow, for recipes.
    """

    name: str
    build: Callable[[], AbstractBijection]
    tolerance: str
    z_side: str = LINE
    x_side: str = LINE
    largest: float = 1e30
    largest_gradient: float = 1e15
    places: tuple[float, ...] = ()
    spread: float = 0.3
    depends: np.ndarray | None = None
    context_reaches: np.ndarray | None = None
    is_identity: bool = False
    dead: str = ""
    flow: Callable[[], AbstractDistribution] | None = None


@dataclass(frozen=True)
class Scalar:
    """A scalar bijection: alone, element-wise and in a coupling, where its two sides are one set.

    `coupled_largest` is `Row.largest` in a coupling: an unbounded leaf may follow the other coordinates far out.
    """

    build: Callable[[], AbstractBijection]
    tolerance: str
    z_side: str = LINE
    x_side: str = LINE
    largest: float = 1e30
    coupled_largest: float = 1e30
    places: tuple[float, ...] = ()
    is_identity: bool = False


BOX = (5.0, 5 * (1 - 1e-6), 5 * (1 + 1e-6), 1.25, 2.5, 3.75)
TURN = (float(np.pi), float(np.pi) * (1 - 1e-6), float(np.pi) / 2)

SCALARS: dict[str, Scalar] = {
    "Translation": Scalar(Translation, "exact", is_identity=True),
    "Affine": Scalar(Affine, "elementary", is_identity=True),
    "LeakyReLU": Scalar(LeakyReLU, "elementary"),
    "SinhArcsinh": Scalar(SinhArcsinh, "elementary", largest=1e3, coupled_largest=10.0, is_identity=True),
    "RationalQuadraticSpline": Scalar(lambda: RationalQuadraticSpline(4), "spline", places=BOX, is_identity=True),
    "CircularSpline": Scalar(
        lambda: CircularSpline(4), "spline", CIRCLE, CIRCLE, float(np.pi), places=TURN, is_identity=True
    ),
    "MixtureLogistic": Scalar(lambda: MixtureLogistic(3), "root", largest=1e3, coupled_largest=10.0),
    "MixtureNormal": Scalar(lambda: MixtureNormal(3), "root", largest=1e3, coupled_largest=10.0),
    "Exp": Scalar(Exp, "elementary", LINE, POSITIVE, 80.0),
    "Softplus": Scalar(Softplus, "elementary", LINE, POSITIVE, 80.0),
    "Sigmoid": Scalar(Sigmoid, "elementary", LINE, UNIT, 80.0),
    "Tanh": Scalar(Tanh, "elementary", LINE, OPEN, 80.0),
}


def _network(n_in: int, out: tuple[int, ...], context: int = 0) -> MLP:
    return MLP(n_in, out, width=8, depth=1, context_size=context, key=jax.random.key(3))


def _coupling(transformer: AbstractBijection, mask: np.ndarray, context: int = 0) -> Coupling:
    kept, moved = int((~mask).sum()), int(mask.sum())
    network = _network(kept, (n_parameters(transformer), moved), context)
    return Coupling(transformer, mask, network, context_shape=(context,) if context else None)


def _autoregressive(
    transformer: AbstractBijection | str,
    order: tuple[int, ...],
    context: int = 0,
    method: str | None = None,
    **options: Any,
) -> MaskedAutoregressive:
    transformer = transformer_named(transformer)
    network = MaskedMLP(
        len(order),
        n_parameters(transformer),
        order=order,
        context_size=context,
        key=jax.random.key(3),
        **{"width": 8, "depth": 1, "activation": "tanh", **options},
    )
    return MaskedAutoregressive(transformer, network, context_shape=(context,) if context else None, method=method)


def _attention(transformer: str, dim: int, context: int = 0, **options: Any) -> MaskedAutoregressive:
    law = transformer_named(transformer)
    network = CausalAttention(
        dim, n_parameters(law), width=8, depth=2, n_heads=2, context_size=context, key=jax.random.key(3), **options
    )
    return MaskedAutoregressive(law, network, context_shape=(context,) if context else None, method="cached")


def _in_order(order: tuple[int, ...], token_size: int = 1) -> np.ndarray:
    """Who depends on whom: each on itself and on all of lower rank."""
    ranks = np.argsort(order) // token_size
    return (ranks[:, None] > ranks[None, :]) | np.eye(len(order), dtype=bool)


def _conditional(layer: AbstractBijection) -> Conditional:
    return Conditional(layer, _network(CONTEXT_DIM, (count_parameters(layer),)), (CONTEXT_DIM,))


def _coupled(mask: np.ndarray, diagonal: bool = True) -> np.ndarray:
    """Who depends on whom in a coupling: the transformed part on itself and on all that is kept."""
    flat = mask.reshape(-1)
    matrix = np.outer(flat, ~flat)
    return matrix | np.eye(flat.size, dtype=bool) if diagonal else matrix


def _scalar_rows() -> list[Row]:
    rows = []
    for name, s in SCALARS.items():
        sides = {"places": s.places, "is_identity": s.is_identity}
        alone = {**sides, "largest": s.largest, "largest_gradient": s.largest, "spread": 1.0}
        rows.append(Row(name, s.build, s.tolerance, s.z_side, s.x_side, **alone))
        if s.z_side == s.x_side and n_parameters(s.build()):
            rows.append(
                Row(
                    f"Elementwise[{name}]", lambda s=s: Elementwise(s.build(), (3,)), s.tolerance, s.z_side, s.x_side,
                    depends=np.eye(3, dtype=bool), **alone,
                )
            )  # fmt: skip
            mask = halves(3)
            rows.append(
                Row(
                    f"Coupling[{name}]", lambda s=s, mask=mask: _coupling(s.build(), mask),
                    "linear" if s.tolerance != "spline" else "spline", s.z_side, s.x_side, depends=_coupled(mask),
                    largest=s.coupled_largest, **sides,
                )
            )  # fmt: skip
    return rows


def _autoregressive_rows() -> list[Row]:
    """Orders, contexts, methods and laws; the grid of sizes is in test_autoregressive.py."""
    spline = RationalQuadraticSpline(4)
    mixed, natural = (1, 2, 0), (0, 1, 2, 3)
    return [
        Row(
            "MaskedAutoregressive", lambda: _autoregressive("affine", mixed, depth=2), "linear",
            depends=_in_order(mixed), is_identity=True,
        ),
        Row(
            "MaskedAutoregressive with context", lambda: _autoregressive(spline, natural, CONTEXT_DIM), "spline",
            places=BOX, depends=_in_order(natural), is_identity=True,
        ),
        Row(
            "MaskedAutoregressive sequential", lambda: _autoregressive("affine", mixed, method="sequential"), "linear",
            depends=_in_order(mixed), is_identity=True,
        ),
        Row(
            "MaskedAutoregressive jacobi", lambda: _autoregressive("affine", mixed, CONTEXT_DIM, method="jacobi"),
            "linear", depends=_in_order(mixed), is_identity=True,
        ),
        Row(
            "MaskedAutoregressive residual", lambda: _autoregressive("affine", natural, residual=True), "linear",
            depends=_in_order(natural), is_identity=True,
        ),
        Row(
            "MaskedAutoregressive D=1 context", lambda: _autoregressive("affine", (0,), CONTEXT_DIM), "linear",
            is_identity=True, dead="one coordinate sees no other",
        ),
        Row(
            "Inverse[MaskedAutoregressive]",
            lambda: Inverse(_autoregressive(spline, natural, CONTEXT_DIM, residual=True)), "spline", places=BOX,
            depends=_in_order(natural), is_identity=True,
        ),
        Row(
            "MaskedAutoregressive attention", lambda: _attention("affine", 4, CONTEXT_DIM), "linear",
            depends=_in_order(natural), is_identity=True, largest_gradient=1e3,
        ),
        Row(
            "MaskedAutoregressive attention tokens", lambda: _attention("affine", 3, token_size=2), "linear",
            depends=_in_order((0, 1, 2), 2), is_identity=True, largest_gradient=1e3,
        ),
        Row(
            "BlockAutoregressive",
            lambda: BlockAutoregressive(3, n_units=3, depth=2, order=mixed, key=jax.random.key(2)), "root",
            depends=_in_order(mixed), largest=1e3,
        ),
        Row(
            "BlockAutoregressive with context",
            lambda: BlockAutoregressive(2, n_units=3, depth=1, context_dim=CONTEXT_DIM, key=jax.random.key(2)), "root",
            depends=_in_order((0, 1)), largest=1e3,
        ),
    ]  # fmt: skip


def _standardise() -> Standardise:
    return Standardise((3,)).filled(np.array([1.0, -2.0, 1e3]), np.array([0.5, 2.0, 30.0]))


def _linear_rows() -> list[Row]:
    """Every parametrisation of a matrix, alone and with its leaves shifted by a context."""
    first = jax.random.key(5)
    lower, eye = np.tri(3, dtype=bool), np.eye(3, dtype=bool)
    kinds: dict[str, Callable[[], AbstractBijection]] = {
        "Diagonal": lambda: Diagonal(3),
        "Triangular": lambda: Triangular(3),
        "Householder": lambda: Householder(3, key=first),
        "Cayley": lambda: Cayley(3),
        "Dense": lambda: Dense(3),
        "LowRank": lambda: LowRank(3, rank=2, key=first),
        "QR": lambda: Chain([Triangular(3, lower=False), Householder(3, key=first)]),
    }
    depends = {"Diagonal": eye, "Triangular": lower}
    rows = [
        Row(name, build, "linear", depends=depends.get(name), is_identity=name != "LowRank")
        for name, build in kinds.items()
    ]
    rows += [
        Row(f"Conditional[{name}]", lambda build=build: _conditional(build()), "linear",
            depends=depends.get(name), is_identity=name != "LowRank", spread=0.2)
        for name, build in kinds.items()
    ]  # fmt: skip
    factor = np.array([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [-3.0, 0.2, 30.0]])
    return [
        *rows,
        Row("Triangular upper", lambda: Triangular(3, lower=False), "linear", depends=lower.T, is_identity=True),
        Row("Householder, three in four", lambda: Householder(4, 3, key=first), "linear"),
        Row("Whiten", lambda: Whiten(3).filled(np.array([1.0, -2.0, 1e3]), factor), "linear", depends=lower),
    ]


def _layer_rows() -> list[Row]:
    affine, spline = Affine, RationalQuadraticSpline
    board = checkerboard((2, 2, 1))
    multiscale = Split(Split(Elementwise(affine(), (1,)), [1], (2,)), [2, 0], (3,))
    return [
        Row("Inverse[Exp]", lambda: Inverse(Exp()), "elementary", POSITIVE, LINE, 80.0, 80.0),
        Row("Inverse[Sigmoid]", lambda: Inverse(Sigmoid()), "elementary", UNIT, LINE, 80.0, 80.0),
        Row("Inverse[RationalQuadraticSpline]", lambda: Inverse(spline()), "spline", places=BOX, spread=1.0),
        Row("Inverse[Coupling]", lambda: Inverse(_coupling(affine(), halves(3))), "linear", is_identity=True),
        Row(
            "Chain", lambda: Chain([PLU(3, key=jax.random.key(1)), _coupling(affine(), alternating(3))]), "linear",
        ),
        Row("Chain[scalars]", lambda: Chain([affine(0.5), spline(4), Exp()]), "spline", LINE, POSITIVE, 15.0),
        Row(
            "Coupling with context", lambda: _coupling(affine(), halves(3), CONTEXT_DIM), "linear",
            depends=_coupled(halves(3)), context_reaches=halves(3), is_identity=True,
        ),
        Row(
            "Coupling[Chain]", lambda: _coupling(Chain([affine(), spline(4)]), halves(3)), "spline", places=BOX,
            depends=_coupled(halves(3)), is_identity=True,
        ),
        Row(
            "Coupling[Inverse]", lambda: _coupling(Inverse(spline(4)), halves(2)), "spline", places=BOX,
            depends=_coupled(halves(2)), is_identity=True,
        ),
        Row(
            "Coupling of images", lambda: _coupling(affine(), board), "linear", depends=_coupled(board),
            is_identity=True,
        ),
        Row(
            "Conditional[Elementwise]", lambda: _conditional(Elementwise(spline(4), (3,))), "spline", places=BOX,
            depends=np.eye(3, dtype=bool), is_identity=True,
        ),
        Row("Conditional[PLU]", lambda: _conditional(PLU(3)), "linear", is_identity=True, spread=0.2),
        Row(
            "Repeat", lambda: Repeat([_coupling(spline(4), m) for m in (halves(2), ~halves(2))]), "spline",
            places=BOX, is_identity=True,
        ),
        Row(
            "Repeat[Chain]",
            lambda: Repeat([Chain([PLU(2, key=jax.random.key(i)), _coupling(affine(), halves(2))]) for i in range(2)]),
            "linear",
        ),
        *_autoregressive_rows(),
        *_linear_rows(),
        Row("Reshape", lambda: Reshape(_coupling(affine(), halves(4)), (2, 2)), "linear", is_identity=True),
        Row("Squeeze", lambda: Squeeze(_coupling(affine(), np.arange(4).reshape(1, 1, 4) < 2)), "linear",
            is_identity=True),
        Row(
            "Split", lambda: Split(_coupling(affine(), halves(2)), [2, 0], (3,)), "linear", is_identity=True,
            depends=np.array([[1, 0, 0], [0, 1, 0], [1, 0, 1]], bool),
        ),
        Row("Split[Split]", lambda: multiscale, "elementary", depends=np.eye(3, dtype=bool), is_identity=True),
        Row("Standardise", _standardise, "linear", depends=np.eye(3, dtype=bool)),
        Row("Permutation", lambda: Permutation([2, 0, 1]), "exact", depends=np.eye(3, dtype=bool)[[2, 0, 1]]),
        Row("PLU", lambda: PLU(4, key=jax.random.key(5)), "linear"),
        Row("PLU D=1", lambda: PLU(1), "linear", is_identity=True, dead="one coordinate has nothing off the diagonal"),
    ]  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A recipe and the options with which its rows are built, at two layers of width 8."""

    make: Callable[..., AbstractDistribution]
    tolerance: str
    options: dict[str, Any]
    places: tuple[float, ...] = ()
    is_identity: bool = True
    is_elementwise: bool = False
    largest: float = 1e30
    quick: tuple[str, ...] = ("float32", "float64")  # in which types a row is run by `make test`
    is_autoregressive: bool = False


RECIPES: dict[str, Recipe] = {
    "elementwise_flow": Recipe(pf.elementwise_flow, "spline", {"n_layers": 2}, BOX, is_elementwise=True),
    "linear_flow": Recipe(pf.linear_flow, "linear", {}),
    "linear_flow plu": Recipe(pf.linear_flow, "linear", {"kind": "plu"}, is_identity=False, quick=()),
    "linear_flow qr": Recipe(pf.linear_flow, "linear", {"kind": "qr"}, quick=()),
    "linear_flow orthogonal": Recipe(pf.linear_flow, "linear", {"kind": "orthogonal"}, quick=()),
    "linear_flow cayley": Recipe(pf.linear_flow, "linear", {"kind": "cayley"}, quick=()),
    "linear_flow low_rank": Recipe(pf.linear_flow, "linear", {"kind": "low_rank"}, is_identity=False, quick=()),
    "linear_flow dense": Recipe(pf.linear_flow, "linear", {"kind": "dense"}, quick=()),
    "linear_flow diagonal": Recipe(pf.linear_flow, "linear", {"kind": "diagonal"}, quick=(), is_elementwise=True),
    "nsf whiten": Recipe(pf.nsf, "spline", {"n_layers": 2, "n_bins": 4, "whiten": True}, BOX, quick=()),
    "nice": Recipe(pf.nice, "linear", {"n_layers": 2}),
    "real_nvp": Recipe(pf.real_nvp, "linear", {"n_layers": 2}),
    "nsf": Recipe(pf.nsf, "spline", {"n_layers": 2, "n_bins": 4}, BOX),
    "nsf lu": Recipe(
        pf.nsf, "spline", {"n_layers": 2, "n_bins": 4, "mixing": "lu"}, BOX, is_identity=False, quick=("float32",)
    ),
    "nsf residual": Recipe(
        pf.nsf, "spline", {"n_layers": 2, "n_bins": 4, "residual": True, "dropout": 0.2, "depth": 1}, BOX
    ),
    "made": Recipe(pf.made, "linear", {}, quick=(), is_autoregressive=True),  # a maf of one layer
    "made_mog": Recipe(
        pf.made_mog,
        "root",
        {"n_components": 3},
        is_identity=False,
        largest=1e3,
        quick=("float64",),  # the normal tail and its gradients take 40 s to compile with all optimisations
        is_autoregressive=True,
    ),
    "maf": Recipe(pf.maf, "linear", {"n_layers": 2}, is_autoregressive=True),
    "maf_mog": Recipe(
        pf.maf_mog,
        "root",
        {"n_layers": 1, "n_components": 3},
        is_identity=False,
        largest=1e3,
        quick=(),
        is_autoregressive=True,
    ),
    "iaf": Recipe(pf.iaf, "linear", {"n_layers": 2}, is_autoregressive=True),
    "nsf_ar": Recipe(pf.nsf_ar, "spline", {"n_layers": 2, "n_bins": 4}, BOX, is_autoregressive=True),
    "bnaf": Recipe(
        pf.bnaf,
        "root",
        {"n_layers": 2, "n_units": 2, "depth": 1, "width": None},
        is_identity=False,
        largest=1e3,
        quick=("float64",),
    ),
    "transformer_flow": Recipe(
        pf.transformer_flow,
        "linear",
        {"n_layers": 2, "depth": 1},
        quick=("float64",),
        is_autoregressive=True,
    ),
    "autoregressive_flow": Recipe(
        pf.autoregressive_flow,
        "linear",
        {"n_layers": 2, "transformer": "sinh_arcsinh", "order": "random"},
        largest=10.0,
        quick=(),
        is_autoregressive=True,
    ),
    "coupling_flow": Recipe(pf.coupling_flow, "linear", {"n_layers": 2, "transformer": "sinh_arcsinh"}, largest=10.0),
}

# Every dimension, without and with context; the quick runs of the two types share them, the slow ones have the rest.
# That every recipe works in one dimension is tested in test_recipes.py too, in seconds.
CASES = tuple((dim, context) for dim in (1, 2, 3, 5) for context in (None, CONTEXT_DIM))
QUICK = {"float32": ((3, CONTEXT_DIM),), "float64": ((2, None),)}


def _recipe_rows(quick: bool) -> list[Row]:
    rows = []
    for name, r in RECIPES.items():
        dtype = "float64" if jax.config.jax_enable_x64 else "float32"
        chosen = QUICK[dtype] if dtype in r.quick else ()
        for dim, context in (case for case in CASES if (case in chosen) == quick):

            def flow(r: Recipe = r, dim: int = dim, context: int | None = context) -> AbstractDistribution:
                options = {name: value for name, value in {"width": 8, **r.options}.items() if value is not None}
                return r.make(dim=dim, context_dim=context, key=0, **options)

            rows.append(
                Row(
                    f"{name} D={dim}" + (" context" if context else ""), lambda flow=flow: flow().bijection,
                    r.tolerance, largest=r.largest, places=r.places, is_identity=r.is_identity, flow=flow, spread=0.08,
                    depends=np.eye(dim, dtype=bool) if r.is_elementwise else None,
                    dead="one coordinate sees no other" if dim == 1 and r.is_autoregressive else "",
                )
            )  # fmt: skip
    return rows


@dataclass(frozen=True)
class Base:
    """A base distribution: its constructor and, where there is one, the frozen SciPy distribution of one coordinate.

    Attributes:
        build: makes it.
        oracle: makes an object with `logpdf` and `cdf`, for coordinate 0 of a base with independent coordinates; None
            where the base has no counterpart.
        support: the set where the density lives.
    """

    build: Callable[[], AbstractDistribution]
    oracle: Callable[[], Any] | None = None
    support: tuple[float, float] = (-np.inf, np.inf)


def _scipy_normal() -> Any:
    from scipy import stats

    return stats.norm(1.0, 2.0)


def _normals(*locs: float) -> list[AbstractDistribution]:
    return [pf.bases.Normal((1,), loc=loc) for loc in locs]


def _conditional_base() -> AbstractDistribution:
    base = pf.bases.MultivariateNormal(2)
    return pf.bases.ConditionalBase(base, _network(CONTEXT_DIM, (count_parameters(base),)), (CONTEXT_DIM,))


BASES: dict[str, Base] = {
    "Normal": Base(lambda: pf.bases.Normal((2,), loc=1.0, scale=2.0), _scipy_normal),
    "Uniform": Base(lambda: pf.bases.Uniform((2,)), support=(0.0, 1.0)),
    "Logistic": Base(lambda: pf.bases.Logistic((2,))),
    "StudentT": Base(lambda: pf.bases.StudentT((2,))),
    "TruncatedNormal": Base(lambda: pf.bases.TruncatedNormal((2,), -1.0, 2.0), support=(-1.0, 2.0)),
    "MultivariateNormal": Base(lambda: pf.bases.MultivariateNormal(2)),
    "Mixture": Base(lambda: pf.bases.Mixture(_normals(-2.0, 2.0))),
    "Product": Base(lambda: pf.bases.Product(_normals(0.0, 1.0))),
    "ConditionalBase": Base(_conditional_base),
}

ROWS: list[Row] = [*_scalar_rows(), *_layer_rows(), *_recipe_rows(quick=True)]
SLOW_ROWS: list[Row] = _recipe_rows(quick=False)
