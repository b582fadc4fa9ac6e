"""Run in a kernel before each page: an empty namespace and default settings.

It is sent as text, after a change into the folder of the page, and runs inside IPython; nothing imports it.
"""

get_ipython().run_line_magic("reset", "-f")  # type: ignore[name-defined]
get_ipython().run_line_magic("matplotlib", "inline")  # type: ignore[name-defined]
get_ipython().run_line_magic("config", "InlineBackend.figure_formats = ['retina']")  # type: ignore[name-defined]


def _prepare() -> None:
    import logging
    import os
    import sys
    import textwrap
    import threading
    import warnings

    import jax.monitoring
    import matplotlib.pyplot as plt
    import numpy as np

    shell, config, root = get_ipython(), jax.config, logging.getLogger()  # type: ignore[name-defined]
    if not hasattr(shell, "at_start"):  # the settings before the first page
        config.update("jax_enable_x64", False)
        shell.at_start = (
            dict(config.values), dict(os.environ), list(sys.path), list(warnings.filters), np.get_printoptions(),
            np.geterr(), root.manager.disable, root.level, list(root.handlers),
        )  # fmt: skip
    values, environment, path, filters, print_options, floats, disabled, level, handlers = shell.at_start
    for name, value in values.items():
        if config.values[name] != value:
            config.update(name, value)
    if "polars" in sys.modules:
        sys.modules["polars"].Config.restore_defaults()
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
    sys.path[:] = path
    warnings.resetwarnings()
    warnings.filters.extend(filters)
    np.set_printoptions(**print_options)
    np.seterr(**floats)
    logging.disable(disabled)
    root.setLevel(level)
    root.handlers[:] = handlers

    jax.monitoring.clear_event_listeners()  # those of a page before would use names that are gone
    plt.close("all")
    plt.rcdefaults()
    plt.rcParams.update({"figure.dpi": 100, "savefig.dpi": "figure"})
    for module in list(sys.modules.values()):  # so that a warning does not depend on the pages before
        if isinstance(getattr(module, "__warningregistry__", None), dict):
            module.__warningregistry__.clear()

    def format_warning(message: object, category: type[Warning], *_args: object, **_options: object) -> str:
        return textwrap.fill(f"{category.__name__}: {message}", 96, break_on_hyphens=False) + "\n"

    def refuse_exit() -> None:
        raise RuntimeError("expected a block that ends by itself, got exit() or quit().")

    def end_of_page() -> None:
        """A thread of the page would print into the next page. Those of libraries have targets of their own."""
        for thread in threading.enumerate():
            functions = type(thread), getattr(thread, "_target", None), getattr(thread, "function", None)
            if any(getattr(function, "__module__", "") == "__main__" for function in functions):
                raise RuntimeError(f"expected no thread at the end of a page, {thread.name} still runs: join it.")

    warnings.formatwarning = format_warning
    shell.ask_exit = refuse_exit
    shell.end_of_page = end_of_page


_prepare()
del _prepare
