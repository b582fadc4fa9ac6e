"""Arguments in another order, no flow where one is expected, and misspelled names; see test_bad_input.py."""

_X = "np.zeros((10, 2))"
_NO_FLOW = ("flow: expected a flow", "pushforward.nsf(dim=2, key=0)", "got ndarray")
_LOG_DENSITY = "lambda x: -jnp.sum(x**2)"

ARGUMENT_CASES = {
    "fit of rows": (f"pf.fit({_X}, flow, key=0)", "TypeError", (*_NO_FLOW, "fit(flow, x)")),
    "fit of a recipe": (
        f"pf.fit(pf.nsf, {_X}, key=0)",
        "TypeError",
        ("flow: expected", "got the function nsf", "call it first"),
    ),
    "fit of a class": (f"pf.fit(pf.Flow, {_X}, key=0)", "TypeError", ("flow: expected", "got the class Flow")),
    "fit_target of a density": (
        f"pf.fit_target({_LOG_DENSITY}, flow, key=0)",
        "TypeError",
        ("flow: expected", "fit_target(flow, log_density)"),
    ),
    "importance_sample of a density": (
        f"pf.importance_sample({_LOG_DENSITY}, flow, 10, key=0)",
        "TypeError",
        ("flow: expected", "importance_sample(flow, log_density, n)"),
    ),
    "distill of rows": (
        f"pf.distill({_X}, flow, key=0)",
        "TypeError",
        ("teacher: expected a flow", "distill(teacher, student)"),
    ),
    "distill into rows": (
        f"pf.distill(flow, {_X}, key=0)",
        "TypeError",
        ("student: expected a flow", "distill(teacher, student)"),
    ),
    "fidelity of a recipe": (
        "pf.diagnostics.fidelity(flow, pf.nsf, key=0)",
        "TypeError",
        ("student: expected a flow", "the function nsf", "fidelity(teacher, student)"),
    ),
    "check of rows": (f"pf.check({_X}, flow)", "TypeError", (*_NO_FLOW, "check(flow, x)")),
    "locate_non_finite of rows": (
        f"pf.diagnostics.locate_non_finite({_X}, flow)",
        "TypeError",
        (*_NO_FLOW, "locate_non_finite(flow, x)"),
    ),
    "summary of rows": (f"pf.summary({_X})", "TypeError", (*_NO_FLOW, "summary(flow)")),
    "save to a flow": (
        "pf.save(flow, 'flow.safetensors')",
        "TypeError",
        ("flow: expected a flow", "got str", "save(path, flow)"),
    ),
    "export of a path": (
        "pf.export('folder', flow)",
        "TypeError",
        ("flow: expected a flow", "got str", "export(flow, path)"),
    ),
    "load of a flow": ("pf.load(flow)", "TypeError", ("path: expected the path", "got Flow")),
    "save to a number": ("pf.save(3, flow)", "TypeError", ("path: expected the path", "got int")),
    "export to nothing": ("pf.export(flow, None)", "TypeError", ("path: expected the path", "got NoneType")),
    "read_table of rows": (
        f"__import__('pushforward.tables').tables.read_table({_X})",
        "TypeError",
        ("path: expected the path", "got ndarray"),
    ),
    "image_folder of a number": ("pf.datasets.image_folder(3)", "TypeError", ("path: expected the path", "got int")),
    "ensemble of a flow": (
        "pf.ensemble(flow, 2, key=0)",
        "TypeError",
        ("build: expected a function", "lambda key", "got Flow"),
    ),
    "name in camel case": ("pf.RealNVP", "AttributeError", ("no attribute 'RealNVP'", "Did you mean real_nvp?")),
    "misspelled name": ("pf.real_npv", "AttributeError", ("no attribute 'real_npv'", "Did you mean real_nvp?")),
    "unknown name": ("pf.qqqqqqq", "AttributeError", ("no attribute 'qqqqqqq'", "dir(pushforward)")),
}
