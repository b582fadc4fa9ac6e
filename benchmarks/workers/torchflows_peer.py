"""torchflows 1.2.1.

nsf: `CouplingRQNSF` (8 bins is its default), real_nvp: `RealNVP`, maf: `MAF`, nsf_ar: `MaskedAutoregressiveRQNSF`, iaf:
`IAF`. All come with reversals, activation normalisation and element-wise affine layers between and around the layers.
Conditioners of couplings: its `FeedForward`, ReLU; of the others its `MADE`, which knows no activation but tanh. naf:
`CouplingDeepSF`, naf_ar: `MaskedAutoregressiveDeepSF`, 8 sigmoids each; umnn_maf: `UMNNMAF`. n_layers = depth + 1 (it
counts linear maps), n_hidden = width.

residual_flow: `ResFlow`, i_resnet: `InvertibleResNet`, around its own spectrally normalised linear maps with tanh: its
`SpectralNeuralNetwork` would make as many hidden layers as there are units. The maps are scaled to a norm of one
whatever the bound asked for, and power iteration starts anew in every call. Its roulette has one exact term. `inverse`
makes its 25 repetitions.
"""

import itertools

import torch
from protocol import Operation, normal_rows, serve
from residual_settings import CONTINUATION, N_TERMS, POWER_ROUNDS, share
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
from torchflows.bijections.finite.residual.architectures import InvertibleResNet, ResFlow
from torchflows.bijections.finite.residual.iterative import SpectralLinear
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
    if family in ("residual_flow", "i_resnet"):
        flow = _residual_flow(workload)
        z = torch.from_numpy(normal_rows(workload["batch"], workload["dim"]))
        timed = operations(flow, workload, flow.log_prob, lambda n: flow.sample(n, no_grad=True), differentiates=True)
        return timed | {"inverse": lambda: _inverse(flow, z)}
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


def _residual_flow(workload: dict) -> Flow:
    sizes = [workload["dim"], *[workload["width"]] * workload["depth"], workload["dim"]]
    bound = {"c": share(workload["depth"]), "n_iterations": POWER_ROUNDS}
    is_series = workload["family"] == "i_resnet"
    bijection = (InvertibleResNet if is_series else ResFlow)(
        event_shape=(workload["dim"],),
        n_layers=workload["n_layers"],
        layer_kwargs={"n_power_series_iterations": N_TERMS} if is_series else {"p": 1 - CONTINUATION},
    )
    for layer in bijection.layers:
        if hasattr(layer, "g"):
            parts: list[torch.nn.Module] = []
            for before, after in itertools.pairwise(sizes):
                parts += [SpectralLinear(before, after, **bound), torch.nn.Tanh()]
            layer.g = torch.nn.Sequential(*parts[:-1])
    return Flow(bijection)


def _inverse(flow: Flow, z: torch.Tensor) -> torch.Tensor:
    """Latent points to data without a log-determinant."""
    with torch.no_grad():
        for layer in reversed(flow.bijection.layers):
            z = layer.inverse(z, skip_log_det=True)[0] if hasattr(layer, "g") else layer.inverse(z)[0]
    return z


def inverse_error(workload: dict) -> dict[str, float]:
    """The greatest error of a coordinate after `inverse` and the map back."""
    torch.manual_seed(0)
    flow, z = _residual_flow(workload), torch.from_numpy(normal_rows(workload["batch"], workload["dim"]))
    x = _inverse(flow, z)
    with torch.no_grad():
        for layer in flow.bijection.layers:
            x = layer(x, skip_log_det=True)[0] if hasattr(layer, "g") else layer(x)[0]
    return {"inverse": float((x - z).abs().max())}


if __name__ == "__main__":
    serve(build, inverse_error=inverse_error)
