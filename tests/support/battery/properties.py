"""The list of properties, and the check of one row against one of them."""

import time

from zoo import Row

from battery.calls import (
    dtype_is_preserved,
    jit_is_eager,
    mapped_is_looped,
    products_in_full,
    small_batches,
    survives_a_model_file,
)
from battery.case import case_of
from battery.declared import as_declared
from battery.densities import density_integrates, sample_log_probs_agree
from battery.inverses import (
    finite_when_hostile,
    is_monotone,
    log_det_is_autodiff,
    log_dets_cancel,
    right_when_hostile,
    round_trip,
    starts_at_identity,
)
from battery.layers import layers_are_separate
from battery.ledger import RESULTS, SECONDS
from battery.reach import context_reaches, dependence, gradient_reaches
from battery.second_order import second_derivatives

PROPERTIES = {
    "round trip": round_trip,
    "log-det = autodiff": log_det_is_autodiff,
    "log-dets cancel": log_dets_cancel,
    "finite when hostile": finite_when_hostile,
    "right when hostile": right_when_hostile,
    "mapped = looped": mapped_is_looped,
    "gradient reaches leaves": gradient_reaches,
    "context reaches outputs": context_reaches,
    "dependence": dependence,
    "starts at identity": starts_at_identity,
    "monotone": is_monotone,
    "as declared": as_declared,
    "dtype preserved": dtype_is_preserved,
    "model file": survives_a_model_file,
    "layers one by one": layers_are_separate,
    "products in full": products_in_full,
    "jit = eager": jit_is_eager,
    "integrates to one": density_integrates,
    "sample log-probs agree": sample_log_probs_agree,
    "small batches": small_batches,
    "second derivatives": second_derivatives,
}

# Properties that are tested with one kind of weights only.
KINDS = {
    "starts at identity": ("fresh",),
    "as declared": ("fresh",),
    "gradient reaches leaves": ("random",),
    "context reaches outputs": ("random",),
    "dependence": ("random",),
    "jit = eager": ("random", "only"),
    "dtype preserved": ("fresh",),
    "model file": ("fresh",),
    "layers one by one": ("fresh",),
    "products in full": ("fresh",),
    "small batches": ("random",),
    "second derivatives": ("random",),
}


def check(row: Row, name: str) -> list[str]:
    """The failures of a row in one property, over all kinds of weights."""
    case, start = case_of(row), time.perf_counter()
    kinds = [kind for kind in case.weights if kind in KINDS.get(name, tuple(case.weights))]
    if not kinds and name in ("jit = eager", "second derivatives"):
        kinds = ["fresh"]
    wrong = [f"{kind} weights, {s}" for kind in kinds for s in PROPERTIES[name](case, case.weights[kind])]
    RESULTS[row.name][name] = "FAILED" if wrong else "ok"
    SECONDS[row.name] += time.perf_counter() - start
    return wrong
