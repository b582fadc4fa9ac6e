"""Run in a kernel before each page: an empty namespace and default settings.

It is sent as text, after a change into the folder of the page, and runs inside IPython; nothing imports it.
"""

get_ipython().run_line_magic("reset", "-f")  # type: ignore[name-defined]
get_ipython().run_line_magic("matplotlib", "inline")  # type: ignore[name-defined]
get_ipython().run_line_magic("config", "InlineBackend.figure_formats = ['retina']")  # type: ignore[name-defined]


def _prepare() -> None:
    import sys
    import textwrap
    import warnings

    import jax.monitoring
    import matplotlib.pyplot as plt

    jax.config.update("jax_enable_x64", False)
    jax.monitoring.clear_event_listeners()  # those of a page before would use names that are gone
    plt.close("all")
    plt.rcdefaults()
    plt.rcParams.update({"figure.dpi": 100, "savefig.dpi": "figure"})
    for module in list(sys.modules.values()):  # so that a warning does not depend on the pages before
        if isinstance(getattr(module, "__warningregistry__", None), dict):
            module.__warningregistry__.clear()

    def format_warning(message: object, category: type[Warning], *_args: object, **_options: object) -> str:
        return textwrap.fill(f"{category.__name__}: {message}", 96, break_on_hyphens=False) + "\n"

    warnings.formatwarning = format_warning


_prepare()
del _prepare
