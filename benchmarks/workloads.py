"""What is timed: the table of workloads. A new row here is all that a new benchmark of an existing family needs.

`family` is the name that every worker's table of builders uses; a worker that lacks it reports so. `bars` are ratios
best peer / ours: (what we hold ourselves to, what we reach for). `own` are ratios of two operations of ours.
"""

import dataclasses

LOG_PROB, TRAINING_STEP, SAMPLE = "log_prob", "training_step", "sample"
# Only the JAX libraries have it: scoring inside a program that the caller compiles, on rows that lie on the device.
LOG_PROB_IN_JIT = "log_prob_in_jit"
OPERATIONS = (LOG_PROB, LOG_PROB_IN_JIT, TRAINING_STEP, SAMPLE)
# Of ours alone: the conditioners' matrix products and nothing else; sampling, and value and gradient through it, inside
# a program that the caller compiles; a training step whose sequential direction makes one pass a dimension.
PRODUCTS, SAMPLE_IN_JIT, SAMPLE_GRADIENT, D_PASS_STEP = "products", "sample_in_jit", "sample_gradient", "d_pass_step"

# log_prob time / time of its bare matrix products: (at most, reach for).
PRODUCTS_BAR = (2.0, 1.3)
# Compile + first call of a recipe at default size, in seconds: (at most, reach for).
COMPILE_BAR = (5.0, 2.0)
# Whole fit, best peer / ours: (at least, reach for).
FIT_BAR = (3.0, 5.0)


@dataclasses.dataclass(frozen=True)
class OwnRatio:
    """Time of one operation of ours / time of another, of the same flow; `bar` as for a workload."""

    name: str
    numerator: str
    denominator: str
    bar: tuple[float, float] | None = None
    at_most: bool = True


@dataclasses.dataclass(frozen=True)
class Workload:
    """One configuration of a flow and a batch; float32 and every core of the machine for everyone.

    `shape` and `n_scales` are those of images; `dim` is then the number of their elements.
    """

    name: str
    family: str
    dim: int
    batch: int
    width: int
    depth: int = 2
    n_layers: int = 5
    n_bins: int = 8
    shape: tuple[int, int, int] | None = None
    n_scales: int = 2
    operations: tuple[str, ...] = OPERATIONS
    bars: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    own: tuple[OwnRatio, ...] = ()

    def to_dict(self) -> dict:
        """The configuration as plain values, as it goes to a worker and into the results."""
        return {
            key: value for key, value in dataclasses.asdict(self).items() if key not in ("operations", "bars", "own")
        }


_TO_PRODUCTS = OwnRatio("log_prob / bare products", LOG_PROB, PRODUCTS, PRODUCTS_BAR)


def _sampling_to_scoring(at_most: float, reach: float) -> OwnRatio:
    return OwnRatio("sample / log_prob", SAMPLE, LOG_PROB, (at_most, reach))


def _pair(
    family: str,
    wide: dict[str, tuple[float, float]],
    small: dict[str, tuple[float, float]],
    own: tuple[OwnRatio, ...] = (),
) -> list[Workload]:
    """The two sizes at which most families are timed: a table of 43 columns, and the plane.

    In the plane our own ratios are shown without a bar: the products there are too small to be a measure.
    """
    own = (_TO_PRODUCTS, *own)
    bare = tuple(dataclasses.replace(ratio, bar=None) for ratio in own)
    return [
        Workload(f"{family}-43", family, dim=43, batch=512, width=256, bars=wide, own=own),
        Workload(f"{family}-2", family, dim=2, batch=256, width=64, bars=small, own=bare),
    ]


_LEAST = {LOG_PROB: (1.1, 2.0), TRAINING_STEP: (1.1, 1.5), SAMPLE: (1.1, 1.5)}

WORKLOADS: tuple[Workload, ...] = (
    *_pair("nsf", _LEAST | {LOG_PROB: (1.5, 2.5), TRAINING_STEP: (1.5, 2.0)}, _LEAST),
    *_pair("real_nvp", _LEAST, _LEAST),
    *_pair(
        "maf",
        {SAMPLE: (10.0, 20.0), LOG_PROB: (1.1, 1.4), TRAINING_STEP: (1.1, 1.4)},
        _LEAST,
        own=(
            _sampling_to_scoring(2.2, 1.5),
            OwnRatio("value and gradient through sampling / sampling", SAMPLE_GRADIENT, SAMPLE_IN_JIT, (6.0, 4.0)),
        ),
    ),
    *_pair("nsf_ar", {SAMPLE: (10.0, 25.0), LOG_PROB: (2.2, 2.5), TRAINING_STEP: (1.8, 2.2)}, _LEAST),
    Workload(
        "maf-256",
        "maf",
        dim=256,
        batch=256,
        width=1024,
        n_layers=2,
        operations=(LOG_PROB, SAMPLE),
        bars={SAMPLE: (30.0, 60.0)},
        own=(_TO_PRODUCTS, _sampling_to_scoring(6.0, 3.0)),
    ),
    # Likelihood is the sequential direction of this one.
    Workload(
        "iaf-43",
        "iaf",
        dim=43,
        batch=512,
        width=256,
        operations=(TRAINING_STEP,),
        own=(OwnRatio("training step in D passes / ours", D_PASS_STEP, TRAINING_STEP, at_most=False),),
    ),
)

# Autoregressive (and one coupling) flows of the transformers without a formula for their inverse, for the peers that
# have them too; small, for some of these peers take seconds for a batch of samples.
_OF_LAWS = {SAMPLE: (5.0, 20.0), LOG_PROB: (1.5, 3.0)}
LAWS: tuple[Workload, ...] = tuple(
    Workload(
        f"{family}-6",
        family,
        dim=6,
        batch=256,
        width=64,
        operations=(LOG_PROB, TRAINING_STEP, SAMPLE),
        bars=_OF_LAWS,
    )
    for family in ("naf", "naf_ar", "umnn_maf", "sos_flow", "bernstein_flow")
)


# Images: no bar. XLA's convolutions on a CPU are slower than those that PyTorch calls.
IMAGES: tuple[Workload, ...] = tuple(
    Workload(
        f"glow-{side}",
        "glow",
        dim=side * side * channels,
        batch=batch,
        width=width,
        n_layers=4,
        shape=(side, side, channels),
        operations=(LOG_PROB, TRAINING_STEP, SAMPLE),
        bars=dict.fromkeys((LOG_PROB, TRAINING_STEP, SAMPLE), (1.0, 1.5)),
    )
    for side, channels, batch, width in ((32, 3, 32, 64), (8, 1, 256, 32))
)

# Residual flows: `inverse` maps latent points to data; normflows' `inverse_fine` does so to steps of 1e-6.
INVERSE, INVERSE_FINE = "inverse", "inverse_fine"
RESIDUAL: tuple[Workload, ...] = tuple(
    Workload(
        f"{family}-43",
        family,
        dim=43,
        batch=512,
        width=256,
        operations=(TRAINING_STEP, SAMPLE, INVERSE, INVERSE_FINE),
        bars={TRAINING_STEP: (1.5, 3.0), INVERSE: (5.0, 10.0)},
    )
    for family in ("residual_flow", "i_resnet")
)
# Flows to train, the rows they are trained on, and for how many epochs.
TRAINED_RESIDUAL: tuple[tuple[Workload, str, int], ...] = (
    (Workload("trained-2", "residual_flow", dim=2, batch=512, width=128, n_layers=10), "rings", 30),
    (Workload("trained-43", "residual_flow", dim=43, batch=512, width=128, n_layers=5), "mixed", 8),
)


def _on_accelerator() -> tuple[Workload, ...]:
    """The flows of a table of 43 columns at the batch of the CPU and at one that fills a GPU, and the wide one."""
    named = {workload.name: dataclasses.replace(workload, bars={}, own=()) for workload in (*WORKLOADS, *IMAGES)}
    rows = [
        dataclasses.replace(named[name], name=f"{name}-{batch}", batch=batch)
        for batch in (8192, 512)
        for name in ("nsf-43", "maf-43", "nsf_ar-43")
    ]
    return (*rows, named["maf-256"], named["glow-32"])


# On an accelerator there are no bars: those of the CPU were set on two cores.
ACCELERATOR: tuple[Workload, ...] = _on_accelerator()


def _quick() -> tuple[Workload, ...]:
    """One workload of every family, the smallest, cut down where even that is large."""
    smallest: dict[str, Workload] = {}
    for workload in sorted(WORKLOADS, key=lambda workload: workload.dim):
        smallest.setdefault(workload.family, workload)
    return tuple(
        workload
        if workload.dim == 2
        else dataclasses.replace(workload, name=f"{workload.family}-4", dim=4, batch=64, width=32)
        for workload in smallest.values()
    )


QUICK: tuple[Workload, ...] = _quick()

# Recipes whose compilation is timed: all of them, by the shape of their samples and the batch.
RECIPES: tuple[str, ...] = (
    *("elementwise_flow", "nice", "real_nvp", "nsf", "coupling_flow", "gaussianization_flow", "linear_flow"),
    *("made", "made_mog", "maf", "maf_mog", "iaf", "nsf_ar", "bnaf", "transformer_flow", "autoregressive_flow"),
    *("inverse_autoregressive_flow", "flowpp", "naf", "naf_ar", "umnn_maf", "sos_flow", "bernstein_flow"),
    *("planar_flow", "radial_flow", "sylvester_flow", "i_resnet", "residual_flow"),
)
SEQUENCE_RECIPES: tuple[str, ...] = ("wavenet", "parallel_wavenet")
IMAGE_RECIPES: tuple[str, ...] = ("glow", "emerging_glow", "periodic_glow", "real_nvp_image", "residual_flow_image")
COMPILED: tuple[tuple[str, tuple[int, ...], int], ...] = (
    *((name, (dim,), 512) for dim in (2, 43) for name in RECIPES),
    *((name, (43,), 16) for name in SEQUENCE_RECIPES),
    *((name, (32, 32, 3), 16) for name in IMAGE_RECIPES),
)
