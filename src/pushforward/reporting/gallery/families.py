"""The registry of families. A new family is one more `Card` here, and needs no change elsewhere."""

import jax

from pushforward import recipes
from pushforward.bases import Normal
from pushforward.bijections import PLU, Chain, Repeat, Standardise
from pushforward.core.flow import Flow
from pushforward.reporting.gallery.card import Card
from pushforward.reporting.gallery.structure import attention_masks, block_masks, convolution_masks, factors, masks

_WIDTH = 32  # of each conditioner in the gallery, with two hidden layers, unless a card's note differs
_TRIANGLE = "Triangular in the order of the layer; the next layer reverses the order, and two layers together are full."
_COUPLING = "The identity on the unchanged half, diagonal on the transformed half, and a full block between the two."
_ONE_PASS = "One pass of the masked network."
_SEQUENTIAL = "Sequential: D short steps, together about the arithmetic of one pass"
_ROOTS = f"{_SEQUENTIAL}, and a root search at each."


def _linear(dim: int, n_layers: int, key: int) -> Flow:
    keys = jax.random.split(jax.random.key(key), n_layers)
    return Flow(Normal((dim,)), Chain([Repeat([PLU(dim, key=each) for each in keys]), Standardise((dim,))]))


CARDS = (
    Card(
        name="elementwise", title="Element-wise", recipes=("elementwise_flow",),
        formula="<i>x</i><sub>i</sub> = <i>h</i>(<i>z</i><sub>i</sub>; <i>&theta;</i><sub>i</sub>), <i>h</i> a spline",
        build=lambda dim, n_layers, key: recipes.elementwise_flow(dim, key=key, n_layers=n_layers),
        jacobian="Diagonal, for any number of layers: no coordinate depends on another.",
        use="Take it for marginals, or as a layer between others that mix; alone it cannot model dependence.",
        density_cost="D evaluations of the transformer.", sample_cost="The same.",
    ),
    Card(
        name="linear", title="Linear", recipes=("linear_flow",),
        formula="<b>x</b> = <b>P L U z</b> + <b>b</b>",
        build=_linear,
        jacobian="Constant and full: the product of a permutation and two triangular factors. Layers multiply to one.",
        use="Take it as the Gaussian baseline, or to mix coordinates between other layers.",
        density_cost="O(D²): two triangular solves.", sample_cost="O(D²): two triangular products.",
        matrices=factors,
    ),
    Card(
        name="gaussianization", title="Gaussianization", recipes=("gaussianization_flow",),
        formula="<b>z</b> = <i>h</i>(<b>Q</b><sup>&top;</sup><b>x</b>; <i>&theta;</i>), <i>h</i> a spline for each "
        "coordinate, <b>Q</b> orthogonal",
        build=lambda dim, n_layers, key: recipes.gaussianization_flow(dim, key=key, n_layers=n_layers),
        jacobian="A rotation of a diagonal matrix, in every layer; the product of two layers is full.",
        use="Take it when few weights should do: no network couples the coordinates; many cheap layers do the work.",
        density_cost="O(D²) for the rotation and D splines.", sample_cost="The same.",
    ),
    Card(
        name="planar", title="Planar", recipes=("planar_flow",),
        formula="<b>x</b> = <b>z</b> + <b>v</b> tanh(<b>w</b><sup>&top;</sup><b>z</b> + <i>b</i>)",
        build=lambda dim, n_layers, key: recipes.planar_flow(dim, key=key, n_layers=n_layers),
        jacobian="The identity plus a matrix of rank one: space moves along one direction only.",
        use="Take it for cheap variational posteriors in few dimensions; each layer acts along one direction.",
        density_cost="O(D) a layer and one scalar root.", sample_cost="O(D) a layer.",
    ),
    Card(
        name="radial", title="Radial", recipes=("radial_flow",),
        formula="<b>x</b> = <b>z</b> + <i>&beta;</i> (<b>z</b> &minus; <b>c</b>) / "
        "(<i>&alpha;</i> + |<b>z</b> &minus; <b>c</b>|)",
        build=lambda dim, n_layers, key: recipes.radial_flow(dim, key=key, n_layers=n_layers),
        jacobian="A multiple of the identity plus a matrix of rank one, along the ray from the centre.",
        use="Take it where mass surrounds a few centres, or avoids them; long thin shapes need very many layers.",
        density_cost="O(D) a layer, by a formula.", sample_cost="O(D) a layer.",
    ),
    Card(
        name="sylvester", title="Sylvester", recipes=("sylvester_flow",),
        formula="<b>x</b> = <b>z</b> + <b>Q R</b> tanh(<b>S Q</b><sup>&top;</sup><b>z</b> + <b>b</b>)",
        build=lambda dim, n_layers, key: recipes.sylvester_flow(dim, key=key, n_layers=n_layers),
        jacobian="The identity plus a matrix of rank M, here M = D: full.",
        use="Take it instead of planar layers when a layer must act along several directions.",
        density_cost="O(MD + M²) a layer and M scalar roots, one after the other.", sample_cost="O(MD + M²) a layer.",
    ),
    Card(
        name="residual", title="Residual", recipes=("residual_flow", "i_resnet"),
        formula="<b>z</b> = <b>x</b> + <i>g</i>(<b>x</b>), &nbsp; |<i>g</i>(<b>a</b>) &minus; <i>g</i>(<b>b</b>)| "
        "&le; <i>L</i> |<b>a</b> &minus; <b>b</b>|, &nbsp; <i>L</i> &lt; 1",
        build=lambda dim, n_layers, key: recipes.residual_flow(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian="Full, and within L of the identity; its log-determinant is exact in few dimensions, else estimated.",
        use="Take it when all coordinates should be treated alike; sharp shapes need many layers.",
        density_cost="One pass of the network, and D more for an exact determinant.",
        sample_cost="5 to 40 passes of a fixed-point iteration.",
    ),
    Card(
        name="real_nvp", title="Affine coupling (RealNVP)", recipes=("real_nvp", "nice"),
        formula="<b>x</b><sup>A</sup> = <b>z</b><sup>A</sup> exp <i>s</i>(<b>z</b><sup>B</sup>) + "
        "<i>t</i>(<b>z</b><sup>B</sup>), &nbsp; <b>x</b><sup>B</sup> = <b>z</b><sup>B</sup>",
        build=lambda dim, n_layers, key: recipes.real_nvp(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_COUPLING,
        use="Take it when both directions must be fast and the density has no distant modes.",
        density_cost="One pass of the network.", sample_cost="One pass of the network.",
    ),
    Card(
        name="nsf", title="Spline coupling (NSF)", recipes=("nsf", "coupling_flow"),
        formula="<b>z</b><sup>A</sup> = spline(<b>x</b><sup>A</sup>; <i>&theta;</i>(<b>x</b><sup>B</sup>)), &nbsp; "
        "<b>z</b><sup>B</sup> = <b>x</b><sup>B</sup>",
        build=lambda dim, n_layers, key: recipes.nsf(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_COUPLING,
        use="Take it as the default: it fits well and is fast in both directions.",
        density_cost="One pass of the network, then a spline.", sample_cost="The same.",
    ),
    Card(
        name="maf", title="Masked autoregressive (MAF)", recipes=("maf", "made"),
        formula="<i>x</i><sub>i</sub> = <i>z</i><sub>i</sub> <i>&sigma;</i>(<b>x</b><sub>&lt;i</sub>) + "
        "<i>&mu;</i>(<b>x</b><sub>&lt;i</sub>)",
        build=lambda dim, n_layers, key: recipes.maf(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_TRIANGLE,
        use="Take it for densities of many smooth columns, where scoring matters more than sampling.",
        density_cost=_ONE_PASS, sample_cost=f"{_SEQUENTIAL}.",
        matrices=masks,
    ),
    Card(
        name="iaf", title="Inverse autoregressive (IAF)", recipes=("iaf", "inverse_autoregressive_flow"),
        formula="<i>x</i><sub>i</sub> = <i>z</i><sub>i</sub> <i>&sigma;</i>(<b>z</b><sub>&lt;i</sub>) + "
        "<i>&mu;</i>(<b>z</b><sub>&lt;i</sub>)",
        build=lambda dim, n_layers, key: recipes.iaf(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_TRIANGLE,
        use="Take it for variational posteriors and fast samplers: a sample with its density takes one pass.",
        density_cost=f"{_SEQUENTIAL}.", sample_cost=_ONE_PASS,
        matrices=masks,
    ),
    Card(
        name="nsf_ar", title="Spline autoregressive", recipes=("nsf_ar", "autoregressive_flow"),
        formula="<i>z</i><sub>i</sub> = spline(<i>x</i><sub>i</sub>; <i>&theta;</i>(<b>x</b><sub>&lt;i</sub>))",
        build=lambda dim, n_layers, key: recipes.nsf_ar(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_TRIANGLE,
        use="Take it for the best likelihood of its size; samples come coordinate by coordinate.",
        density_cost=f"{_ONE_PASS[:-1]}, then a spline.", sample_cost=f"{_SEQUENTIAL}.",
        matrices=masks,
    ),
    Card(
        name="naf", title="Neural autoregressive (NAF)", recipes=("naf_ar", "naf"),
        formula="<i>z</i><sub>i</sub> = logit <b>w</b><sup>&top;</sup>sigmoid(<b>a</b> <i>x</i><sub>i</sub> + "
        "<b>b</b>), &nbsp; <b>w</b>, <b>a</b>, <b>b</b> = <i>&theta;</i>(<b>x</b><sub>&lt;i</sub>)",
        build=lambda dim, n_layers, key: recipes.naf_ar(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_TRIANGLE,
        use="Take it for smooth densities with several modes in few layers, when samples are rarely drawn.",
        density_cost=f"{_ONE_PASS[:-1]}, then a small monotone network.", sample_cost=_ROOTS,
        matrices=masks,
    ),
    Card(
        name="bnaf", title="Block neural autoregressive (BNAF)", recipes=("bnaf",),
        formula="<b>z</b> = <i>g</i> <b>x</b> + (1 &minus; <i>g</i>) <b>W</b><sub>n</sub> <i>a</i>(… <i>a</i>(<b>W</b>"
        "<sub>1</sub><b>x</b> + <b>b</b><sub>1</sub>) …), &nbsp; <b>W</b> block triangular, positive on the diagonal",
        build=lambda dim, n_layers, key: recipes.bnaf(dim, key=key, n_layers=n_layers),
        jacobian=_TRIANGLE,
        use="Take it when one monotone network should be the whole density, with few weights.",
        density_cost="One pass of a network of 8 D units.", sample_cost="D passes and a root search in each.",
        depths=(1, 2, 4), n_layers=2, matrices=block_masks,
        note="A layer is a whole network and trains slowly: at most 4 layers here, and 2 for the eight shapes.",
    ),
    Card(
        name="polynomial", title="Polynomial (SOS, Bernstein)", recipes=("sos_flow", "bernstein_flow"),
        formula="<i>z</i><sub>i</sub> = <i>c</i> + ∫<sub>0</sub><sup><i>x</i><sub>i</sub></sup> Σ<sub>s</sub> "
        "<i>p</i><sub>s</sub>(<i>t</i>)² d<i>t</i>, &nbsp; <i>p</i><sub>s</sub>, <i>c</i> = "
        "<i>&theta;</i>(<b>x</b><sub>&lt;i</sub>)",
        build=lambda dim, n_layers, key: recipes.sos_flow(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_TRIANGLE,
        use="Take it when the density should be smooth and a proof of universality is wanted.",
        density_cost=f"{_ONE_PASS[:-1]}, then polynomials of degree 9.", sample_cost=_ROOTS,
        depths=(1, 2, 5), n_layers=5, most_dim=32, matrices=masks,
        note="A layer is slow to compile and to train: at most 5 layers, here and for the shapes; costs up to D = 32.",
    ),
    Card(
        name="integral", title="Integral (UMNN)", recipes=("umnn_maf",),
        formula="<i>z</i><sub>i</sub> = <i>c</i> + ∫<sub>0</sub><sup><i>x</i><sub>i</sub></sup> "
        "<i>g</i>(<i>t</i>; <b>e</b>) d<i>t</i>, &nbsp; <i>g</i> &gt; 0, &nbsp; <i>c</i>, <b>e</b> = "
        "<i>&theta;</i>(<b>x</b><sub>&lt;i</sub>)",
        build=lambda dim, n_layers, key: recipes.umnn_maf(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_TRIANGLE,
        use="Take it when a free-form smooth monotone transformer is worth a quadrature for every coordinate.",
        density_cost=f"{_ONE_PASS[:-1]}, then 32 evaluations of the integrand a coordinate.", sample_cost=_ROOTS,
        depths=(1, 2, 4), n_layers=2, matrices=masks,
        note="A layer costs 32 evaluations of a network: at most 4 layers here, and 2 for the eight shapes.",
    ),
    Card(
        name="mixture", title="Mixture (Flow++, MAF-MoG)", recipes=("flowpp", "maf_mog", "made_mog"),
        formula="<b>z</b><sup>A</sup> = (logit &Sigma;<sub>k</sub> <i>w</i><sub>k</sub> sigmoid("
        "(<b>x</b><sup>A</sup> &minus; <i>&mu;</i><sub>k</sub>) / <i>s</i><sub>k</sub>) &minus; <i>b</i>) / "
        "<i>a</i>, &nbsp; <i>w</i>, <i>&mu;</i>, <i>s</i>, <i>a</i>, <i>b</i> = <i>&theta;</i>(<b>x</b><sup>B</sup>)",
        build=lambda dim, n_layers, key: recipes.flowpp(dim, key=key, n_layers=n_layers, width=_WIDTH),
        jacobian=_COUPLING,
        use="Take it when single coordinates have several modes given the others.",
        density_cost="One pass of the network, then a mixture.",
        sample_cost="One pass of the network, and a root search at each transformed coordinate.",
    ),
    Card(
        name="attention", title="Attention (transformer flow)", recipes=("transformer_flow",),
        formula="<i>x</i><sub>i</sub> = <i>z</i><sub>i</sub> <i>&sigma;</i> + <i>&mu;</i>, &nbsp; "
        "<i>&sigma;</i>, <i>&mu;</i> = "
        "attention(tokens before that of <i>i</i>)",
        build=lambda dim, n_layers, key: recipes.transformer_flow(
            dim, key=key, n_layers=n_layers, width=16, depth=1, n_heads=2
        ),
        jacobian="Triangular by blocks: the coordinates of one token do not depend on each other within a layer.",
        use="Take it for long sequences of coordinates with structure and many rows to learn from; not for the plane.",
        density_cost="O(T W² + T² W) for T tokens of width W.", sample_cost="The same, token by token.",
        depths=(1, 2, 4), n_layers=4, matrices=attention_masks,
        note="Attention is slow in the plane: one block of width 16 a layer, at most 4 layers here and for the shapes.",
    ),
    Card(
        name="wavenet", title="Dilated convolution (WaveNet)", recipes=("wavenet", "parallel_wavenet"),
        formula="<i>z</i><sub>t</sub> = logit &Sigma;<sub>k</sub> <i>w</i><sub>k</sub> sigmoid("
        "(<i>x</i><sub>t</sub> &minus; <i>&mu;</i><sub>k</sub>) / <i>s</i><sub>k</sub>), &nbsp; <i>w</i>, "
        "<i>&mu;</i>, <i>s</i> = convolutions(<b>x</b><sub>&lt;t</sub>)",
        build=lambda dim, n_layers, key: recipes.wavenet(
            dim, key=key, n_layers=n_layers, n_components=4, width=16, depth=3
        ),
        jacobian="Triangular, and a band of the width of the receptive field; layers in one order stay triangular.",
        use="Take it for waveforms and other long sequences with the same structure everywhere; not for the plane.",
        density_cost="O(T L W²) for T positions, L dilated layers and W channels.",
        sample_cost="The same, position by position; the inverse layers of parallel_wavenet sample in one pass.",
        depths=(1, 2, 4), n_layers=2, most_dim=32, matrices=convolution_masks,
        note="Few columns of a table form a sequence: at most 4 layers here, and 2 for the shapes; costs up to D = 32.",
    ),
)  # fmt: skip

BY_NAME = {card.name: card for card in CARDS}
BY_RECIPE = {recipe: card for card in CARDS for recipe in card.recipes}
