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
from .core.ensemble import (
    Ensemble as Ensemble,
)
from .core.ensemble import (
    ensemble as ensemble,
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
from .core.freezing import (
    freeze as freeze,
)
from .core.freezing import (
    freeze_all_but as freeze_all_but,
)
from .core.state import (
    finalise as finalise,
)
from .core.state import (
    refresh as refresh,
)
from .core.surgery import (
    insert_layer as insert_layer,
)
from .core.surgery import (
    remove_layer as remove_layer,
)
from .core.surgery import (
    replace_layer as replace_layer,
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
from .recipes import *  # noqa: F403 (its __all__ is the one table of recipes)
from .recipes.dequantisation_flow import (
    dequantisation_flow as dequantisation_flow,
)
from .recipes.of_length import (
    of_length as of_length,
)
from .recipes.space_flow import (
    space_flow as space_flow,
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
from .train import (
    initialise as initialise,
)
