"""What is timed: the table of workloads. A new row here is all that a new benchmark of an existing family needs.

`family` is the name that every worker's table of builders uses; a worker that lacks it reports so. `bars` are ratios
best peer / ours: (what we hold ourselves to, what we reach for).
"""

import dataclasses

LOG_PROB, TRAINING_STEP, SAMPLE, PRODUCTS = "log_prob", "training_step", "sample", "products"
# Only the JAX libraries have it: scoring inside a program that the caller compiles, on rows that lie on the device.
LOG_PROB_IN_JIT = "log_prob_in_jit"
OPERATIONS = (LOG_PROB, LOG_PROB_IN_JIT, TRAINING_STEP, SAMPLE)

# log_prob time / time of its bare matrix products: (at most, reach for).
PRODUCTS_BAR = (2.0, 1.3)
# Compile + first call of a recipe at default size, in seconds: (at most, reach for).
COMPILE_BAR = (5.0, 2.0)
# Whole fit on 2-D data, best peer / ours: (at least, reach for).
FIT_BAR = (2.0, 5.0)


@dataclasses.dataclass(frozen=True)
class Workload:
    """One configuration of a flow and a batch; float32 and every core of the machine for everyone."""

    name: str
    family: str
    dim: int
    batch: int
    width: int
    depth: int = 2
    n_layers: int = 5
    n_bins: int = 8
    operations: tuple[str, ...] = OPERATIONS
    bars: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict:
        """Plain values, as they go to a worker and into the results."""
        return dataclasses.asdict(self)


def _pair(family: str, wide: dict[str, tuple[float, float]], small: dict[str, tuple[float, float]]) -> list[Workload]:
    """The two sizes at which every family is timed: a table of 43 columns, and the plane."""
    return [
        Workload(f"{family}-43", family, dim=43, batch=512, width=256, bars=wide),
        Workload(f"{family}-2", family, dim=2, batch=256, width=64, bars=small),
    ]


WORKLOADS: tuple[Workload, ...] = (
    *_pair(
        "nsf",
        {LOG_PROB: (1.5, 2.5), TRAINING_STEP: (1.3, 2.0)},
        {LOG_PROB: (1.1, 2.0), TRAINING_STEP: (1.0, 1.5)},
    ),
    *_pair("real_nvp", {}, {}),
)

# Recipes whose compilation is timed, and in how many dimensions.
RECIPES: tuple[str, ...] = ("elementwise_flow", "nice", "real_nvp", "nsf", "coupling_flow")
RECIPE_DIMS: tuple[int, ...] = (2, 43)
