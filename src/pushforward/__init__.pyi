"""The public names of pushforward and where they live; `__init__.py` loads them on first use."""

from . import (
    bases as bases,
)
from . import (
    bijections as bijections,
)
from . import (
    datasets as datasets,
)
from . import (
    diagnostics as diagnostics,
)
from . import (
    networks as networks,
)
from ._version import __version__ as __version__
from .core.dequantised import (
    Dequantised as Dequantised,
)
from .core.dequantised import (
    bits_per_dim as bits_per_dim,
)
from .core.discretised import (
    Discretised as Discretised,
)
from .core.fields import (
    cast as cast,
)
from .core.fields import (
    trainable as trainable,
)
from .core.flow import (
    Flow as Flow,
)
from .core.flow import (
    summary as summary,
)
from .diagnostics import (
    check as check,
)
from .diagnostics import (
    importance_sample as importance_sample,
)
from .persistence import (
    export as export,
)
from .persistence import (
    load as load,
)
from .persistence import (
    save as save,
)
from .recipes import (
    autoregressive_flow as autoregressive_flow,
)
from .recipes import (
    bernstein_flow as bernstein_flow,
)
from .recipes import (
    bnaf as bnaf,
)
from .recipes import (
    coupling_flow as coupling_flow,
)
from .recipes import (
    dequantisation_flow as dequantisation_flow,
)
from .recipes import (
    elementwise_flow as elementwise_flow,
)
from .recipes import (
    emerging_glow as emerging_glow,
)
from .recipes import (
    flowpp as flowpp,
)
from .recipes import (
    glow as glow,
)
from .recipes import (
    i_resnet as i_resnet,
)
from .recipes import (
    iaf as iaf,
)
from .recipes import (
    linear_flow as linear_flow,
)
from .recipes import (
    made as made,
)
from .recipes import (
    made_mog as made_mog,
)
from .recipes import (
    maf as maf,
)
from .recipes import (
    maf_mog as maf_mog,
)
from .recipes import (
    naf as naf,
)
from .recipes import (
    naf_ar as naf_ar,
)
from .recipes import (
    nice as nice,
)
from .recipes import (
    nsf as nsf,
)
from .recipes import (
    nsf_ar as nsf_ar,
)
from .recipes import (
    parallel_wavenet as parallel_wavenet,
)
from .recipes import (
    periodic_glow as periodic_glow,
)
from .recipes import (
    planar_flow as planar_flow,
)
from .recipes import (
    radial_flow as radial_flow,
)
from .recipes import (
    real_nvp as real_nvp,
)
from .recipes import (
    real_nvp_image as real_nvp_image,
)
from .recipes import (
    residual_flow as residual_flow,
)
from .recipes import (
    residual_flow_image as residual_flow_image,
)
from .recipes import (
    sos_flow as sos_flow,
)
from .recipes import (
    sylvester_flow as sylvester_flow,
)
from .recipes import (
    transformer_flow as transformer_flow,
)
from .recipes import (
    umnn_maf as umnn_maf,
)
from .recipes import (
    wavenet as wavenet,
)
from .recipes.of_length import (
    of_length as of_length,
)
from .tabular.comparison import (
    compare as compare,
)
from .tabular.estimators import (
    ConditionalFlowDensity as ConditionalFlowDensity,
)
from .tabular.estimators import (
    FlowDensity as FlowDensity,
)
from .train import (
    distill as distill,
)
from .train import (
    fit as fit,
)
from .train import (
    fit_target as fit_target,
)
