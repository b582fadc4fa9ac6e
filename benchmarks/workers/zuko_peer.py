"""zuko 1.6.0.

nsf: `NICE` (its coupling flow) with `MonotonicRQSTransform`, 8 bins (shapes 8, 8, 7), alternating masks; its `NSF`
with `passes=2` computes the parameters of all coordinates where a coupling needs half of them, so this is the faster.
real_nvp: `RealNVP`. maf: `MAF`, nsf_ar: `NSF`, both in ascending and descending order by turns (their default). iaf:
the inverse of that `MAF`'s transformation (`LazyInverse`) over the same base. Conditioners: plain ReLU networks,
hidden_features=(width,) * depth.

naf_ar: `NAF`, its monotone networks with two hidden layers of 8 (ours have 8 sigmoids). umnn_maf: `UNAF`, the integrand
with two hidden layers of 24 and a signal of 8, as ours. sos_flow: `SOSPF` of degree 4 with 3 polynomials;
bernstein_flow: `BPF` of degree 16. All four find inverses by bisection on [-10, 10] (`BPF`: [-5, 5]) to 1e-6.

fit: the settings of its tutorial on training from data: `NSF(2, transforms=3, hidden_features=(64, 64))`, Adam 1e-3,
batches of 64, shuffled each epoch (by one permutation: faster than its DataLoader). The tutorial trains for a fixed
number of epochs; here until the budget is over, or the best held-out value is 15 s old.
"""

import time

import numpy as np
import torch
import zuko
from protocol import Operation, serve
from torch_operations import operations

BATCH = 64
PATIENCE_SECONDS = 15.0


def build(workload: dict) -> dict[str, Operation]:
    torch.manual_seed(0)
    dim, bins = workload["dim"], workload["n_bins"]
    sizes = {"transforms": workload["n_layers"], "hidden_features": (workload["width"],) * workload["depth"]}
    spline = {"univariate": zuko.transforms.MonotonicRQSTransform, "shapes": [(bins,), (bins,), (bins - 1,)]}
    builders = {
        "nsf": lambda: zuko.flows.NICE(dim, **sizes, **spline),
        "real_nvp": lambda: zuko.flows.RealNVP(dim, **sizes),
        "maf": lambda: zuko.flows.MAF(dim, **sizes),
        "nsf_ar": lambda: zuko.flows.NSF(dim, bins=bins, **sizes),
        "naf_ar": lambda: zuko.flows.NAF(dim, network={"hidden_features": (8, 8)}, **sizes),
        "umnn_maf": lambda: zuko.flows.UNAF(dim, signal=8, network={"hidden_features": (24, 24)}, **sizes),
        "sos_flow": lambda: zuko.flows.SOSPF(dim, degree=4, polynomials=3, **sizes),
        "bernstein_flow": lambda: zuko.flows.BPF(dim, degree=16, **sizes),
        "iaf": lambda: _inverse(zuko.flows.MAF(dim, **sizes)),
    }
    flow = builders[workload["family"]]()
    differentiates = workload["family"] in ("naf_ar", "umnn_maf", "sos_flow", "bernstein_flow")
    return operations(flow, workload, lambda x: flow().log_prob(x), lambda n: flow().sample((n,)), differentiates)


def _inverse(flow: zuko.lazy.Flow) -> zuko.lazy.Flow:
    return zuko.lazy.Flow(zuko.lazy.LazyInverse(flow.transform), flow.base)


def fit(data: str, seed: int, learning_rate: float | None, budget: float) -> dict:
    """Train on the rows of `data`; held-out log-likelihood and seconds after each epoch."""
    with np.load(data) as rows:
        train, held_out_rows = torch.from_numpy(rows["train"]), torch.from_numpy(rows["held_out"])
    torch.manual_seed(seed)
    built = time.perf_counter()
    flow = zuko.flows.NSF(features=train.shape[1], transforms=3, hidden_features=(64, 64))
    started = time.perf_counter()
    optimizer = torch.optim.Adam(flow.parameters(), lr=learning_rate or 1e-3)
    seconds, validation = [], []
    while time.perf_counter() - started < budget:
        for rows in torch.randperm(len(train)).split(BATCH):
            loss = -flow().log_prob(train[rows]).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            validation.append(flow().log_prob(held_out_rows).mean().item())
        seconds.append(time.perf_counter() - started)
        if seconds[-1] - seconds[int(np.argmax(validation))] > PATIENCE_SECONDS:
            break
    return {"build_seconds": started - built, "seconds": seconds, "validation": validation}


if __name__ == "__main__":
    serve(build, fit=fit)
