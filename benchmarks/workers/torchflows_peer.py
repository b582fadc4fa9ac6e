"""torchflows 1.2.1.

nsf: `CouplingRQNSF` (8 bins is its default), real_nvp: `RealNVP`, maf: `MAF`, nsf_ar: `MaskedAutoregressiveRQNSF`, iaf:
`IAF`. All come with reversals, activation normalisation and element-wise affine layers between and around the layers.
Conditioners of couplings: its `FeedForward`, ReLU; of the others its `MADE`, which knows no activation but tanh. naf:
`CouplingDeepSF`, naf_ar: `MaskedAutoregressiveDeepSF`, 8 sigmoids each; umnn_maf: `UMNNMAF`. n_layers = depth + 1 (it
counts linear maps), n_hidden = width.
"""

import torch
from protocol import Operation, serve
from torch_operations import operations
from torchflows.bijections.finite.autoregressive.architectures import (
    IAF,
    MAF,
    UMNNMAF,
    CouplingDeepSF,
    CouplingRQNSF,
    MaskedAutoregressiveDeepSF,
    MaskedAutoregressiveRQNSF,
    RealNVP,
)
from torchflows.flows import Flow

ARCHITECTURES = {
    "nsf": CouplingRQNSF,
    "real_nvp": RealNVP,
    "maf": MAF,
    "nsf_ar": MaskedAutoregressiveRQNSF,
    "iaf": IAF,
    "naf": CouplingDeepSF,
    "naf_ar": MaskedAutoregressiveDeepSF,
    "umnn_maf": UMNNMAF,
}


def build(workload: dict) -> dict[str, Operation]:
    torch.manual_seed(0)
    family = workload["family"]
    conditioner: dict = {"n_hidden": workload["width"], "n_layers": workload["depth"] + 1}
    if family in ("nsf", "real_nvp", "naf"):
        conditioner["nonlinearity"] = torch.nn.ReLU
    options: dict = {"n_layers": workload["n_layers"], "conditioner_kwargs": conditioner}
    if family in ("nsf", "nsf_ar"):
        options["transformer_kwargs"] = {"n_bins": workload["n_bins"]}
    if family in ("naf", "naf_ar"):
        options["transformer_kwargs"] = {"hidden_dim": 8}
    flow = Flow(ARCHITECTURES[family](event_shape=(workload["dim"],), **options))
    return operations(flow, workload, flow.log_prob, flow.sample, family == "umnn_maf")


if __name__ == "__main__":
    serve(build)
