"""What a shell offers at the tab key: names of flows and model files. It answers each key, so it imports no JAX."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The recipes of tables and of pictures; a test compares these with the recipes themselves.
FLOWS = (
    "autoregressive_flow", "bernstein_flow", "bnaf", "coupling_flow", "elementwise_flow", "flowpp", "i_resnet", "iaf",
    "linear_flow", "made", "made_mog", "maf", "maf_mog", "naf", "naf_ar", "nice", "nsf", "nsf_ar", "parallel_wavenet",
    "planar_flow", "radial_flow", "real_nvp", "residual_flow", "sos_flow", "sylvester_flow", "transformer_flow",
    "umnn_maf", "wavenet",
    "emerging_glow", "glow", "periodic_glow", "real_nvp_image", "residual_flow_image",
)  # fmt: skip


def flow_names(incomplete: str) -> list[str]:
    """The flows whose names start so.

    >>> flow_names("ns")
    ['nsf', 'nsf_ar']
    """
    return [name for name in FLOWS if name.startswith(incomplete)]


def model_files(incomplete: str) -> list[str]:
    """The model files whose paths start so, in one folder; where there are none the shell offers files of any kind."""
    folder, slash, start = incomplete.rpartition("/")
    try:
        found = sorted(path.name for path in Path(folder + slash).glob("*.safetensors"))
    except OSError:
        return []
    return [folder + slash + name for name in found if name.startswith(start)]


def offer(command: Callable[..., Any], parameter: str, words: Callable[[str], list[str]]) -> None:
    """Let a parameter of a command, where it has that one, be completed by these words.

    Args:
        command: a function whose parameters are annotated for Typer.
        parameter: the name of one of them.
        words: what may stand there, from what is written so far.
    """
    found = inspect.signature(command).parameters.get(parameter)
    for part in getattr(found and found.annotation, "__metadata__", ()):
        part.autocompletion = words
