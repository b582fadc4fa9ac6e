"""Bad input of layers, networks and recipes of images: expressions, error classes, and parts of the messages."""

_NET = "pf.networks.ConvNet(1, 2, width=2, depth=1, key=key"
_COUPLING = "B.ImageCoupling('affine', " + _NET + "), "
_NORM = "B.ActivationNormalisation((2, 2, 1))"
_AVERAGE = "np.asarray([[0, 0, 0], [0, -0.5, 0.5], [0, 0, 0]], np.float32)[:, :, None, None]"

IMAGE_CASES = {
    "normalisation of nothing": ("B.ActivationNormalisation(())", "ShapeError", ("shape", "at least one axis", "()")),
    "normalisation from other rows": (
        _NORM + ".initialised(np.ones((3, 2, 2, 2)))", "DataError", ("x", "(2, 2, 1)", "(3, 2, 2, 2)")
    ),
    "normalisation from no numbers": (
        _NORM + ".initialised(np.full((3, 2, 2, 1), np.nan))", "DataError", ("x", "finite", "NaN")
    ),
    "unknown partition of an image": (
        _COUPLING + "(4, 4, 2), partition='rows')", "ValueError", ("partition", "checkerboard", "'rows'")
    ),
    "coupling of no image": (_COUPLING + "(4, 4))", "ShapeError", ("shape", "height, width, channels", "(4, 4)")),
    "coupling of one channel": (
        _COUPLING + "(4, 4, 1))", "ShapeError", ("shape", "two channels", "checkerboard", "Squeeze")
    ),
    "coupling whose network does not fit": (
        "B.ImageCoupling('affine', pf.networks.ConvNet(1, 3, width=2, depth=1, key=key), (4, 4, 2))",
        "ShapeError", ("network", "(4, 4, 2)", "(4, 4, 3)"),
    ),
    "convolution of no image": ("B.MaskedConvolution((4, 4))", "ShapeError", ("shape", "height, width", "(4, 4)")),
    "masked kernel without a centre": (
        "B.MaskedConvolution((4, 4, 1), kernel_size=2)", "ValueError", ("kernel_size", "odd", "2", "OneByOne")
    ),
    "unknown order of substitution": (
        "B.MaskedConvolution((4, 4, 1), order='spiral')", "ValueError", ("order", "'wavefront'", "'spiral'")
    ),
    "taps of another mask": (
        "eqx.tree_at(lambda m: m.taps, B.MaskedConvolution((4, 4, 1)), np.ones((2, 1, 1))).__check_init__()",
        "ShapeError", ("taps", "(4, 1, 1)", "(2, 1, 1)"),
    ),
    "unknown mask": ("B.MaskedConvolution((4, 4, 1), mask='hexagon')", "ValueError", ("mask", "'raster'", "'hexagon'")),
    "mask rotated too far": ("B.MaskedConvolution((4, 4, 1), rotation=4)", "ValueError", ("rotation", "0, 1, 2", "4")),
    "matrix of other channels": (
        "B.OneByOne(B.PLU(2), (4, 4, 3))", "ShapeError", ("inner", "3 channels", "PLU", "(2,)")
    ),
    "periodic taps of another shape": (
        "eqx.tree_at(lambda m: m.taps, B.PeriodicConvolution((4, 4, 1)), np.ones((3, 3, 2, 1))).__check_init__()",
        "ShapeError", ("taps", "(d, d, 1, 1)", "(3, 3, 2, 1)"),
    ),
    "singular periodic kernel": (
        "eqx.tree_at(lambda m: m.taps, B.PeriodicConvolution((4, 4, 1)), " + _AVERAGE + ").forward(np.ones((4, 4, 1)))",
        "NumericError", ("PeriodicConvolution", "condition number", "EmergingConvolution"),
    ),
    "pixels of no levels": ("B.PixelSigmoid((1,), levels=0)", "ValueError", ("levels", "at least 1", "0")),
    "alpha of 0.5": ("B.PixelSigmoid((1,), levels=2, alpha=0.5)", "ValueError", ("alpha", "below 0.5", "0.5")),
    "even kernels of a network": (_NET + ", kernel_sizes=(2, 3))", "ValueError", ("kernel_sizes", "odd", "(2, 3)")),
    "two contexts of a network": (
        _NET + ", context_size=1, context_channels=1)", "ValueError", ("context_size", "context_channels", "both")
    ),
    "network of other channels": (_NET + ")(np.ones((4, 4, 3)))", "ShapeError", ("x", "(H, W, 1)", "(4, 4, 3)")),
    "network of images without its context": (
        _NET + ", context_size=2)(np.ones((4, 4, 1)))", "ShapeError", ("context", "(2,)", "got none")
    ),
    "even Lipschitz kernel": (
        "pf.networks.LipschitzConv((4, 4), 1, 1, kernel_size=2, coefficient=0.5, key=key)",
        "ValueError", ("kernel_size", "odd", "2"),
    ),
    "noise of one level": (
        "pf.dequantisation_flow((4, 4, 1), levels=1, key=0)", "ValueError", ("levels", "at least 2", "1")
    ),
    "too many scales": (
        "pf.glow((6, 6, 1), n_scales=2, key=0)", "ValueError", ("n_scales", "6 x 6", "1 times", "8 x 8")
    ),
    "one level": ("pf.glow((4, 4, 1), levels=1, key=0)", "ValueError", ("levels", "at least 2", "None", "1")),
    "alpha of zero": (
        "pf.glow((4, 4, 1), levels=8, alpha=0.0, key=0)", "ValueError", ("alpha", "1e-7", "0.0", "infinity")
    ),
    "recipe of no image": ("pf.glow((4, 4), key=0)", "ValueError", ("shape", "channels last", "(4, 4)")),
    "split of more channels than there are": (
        "B.SplitChannels(B.Elementwise(B.Affine(), (2, 2, 3)), 2)", "ShapeError", ("inner", "at most 2", "(2, 2, 3)")
    ),
}  # fmt: skip
