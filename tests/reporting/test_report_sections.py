"""Sections of the report of a fit: present if their input is given, correct, and safe for any names."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pages import HOSTILE, TECHNICAL, Page, report_text

import pushforward as pf
from pushforward.bijections import Affine, Chain, Elementwise, Inverse, Repeat
from pushforward.diagnostics import Certificate, Row
from pushforward.diagnostics.plain_words import _MEANINGS
from pushforward.errors import ShapeError
from pushforward.reporting.html import name_html, number_html, short_html
from pushforward.reporting.plots.pit import distance, kolmogorov_band
from pushforward.reporting.report.calibration import calibration_section, ranks
from pushforward.reporting.report.certificate import certificate_section
from pushforward.reporting.report.columns import columns_section
from pushforward.reporting.report.influential_columns import influential_columns
from pushforward.reporting.report.marginals import Gaps, columns_table_section, correlations_section
from pushforward.reporting.report.plane import density_section, drawn_layers, is_plane, layer_name, layers_section
from pushforward.reporting.report.unlikely import unlikely_section
from pushforward.reporting.text import clean

ALL = [
    "Column by column", "Correlations", "Data against samples", "Calibration", "Unusual rows", "Leaderboard",
    "Column types", "Density", "All tests", "Training", "Layer by layer", "The model", "How to read this",
]  # fmt: skip
SICK = Certificate(
    (
        Row("finite values", 0.0, 0.0, True, "0 of 9 samples not finite."),
        Row("round trip", 3.2e-3, 1.1e-5, False, "a < b", "it does not undo itself", f"do less {HOSTILE}"),
        Row("integral", None, None, None, "a grid would be too large."),
        Row("log-det", 2e-7, 1e-5, True, "against autodiff."),
        Row("condition", 1e9, 2e5, False, "stretched."),
    ),
    "float32",
)
SCHEMA = [
    {"name": "a", "kind": "real", "unit": "km", "note": "declared"},
    SimpleNamespace(name="b", kind="positive", unit=None, note="no value below zero", source="detected"),
]


def normal(count, width, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width))


def standard(x):
    return -0.5 * (x**2).sum(axis=1) - 0.5 * x.shape[1] * np.log(2.0 * np.pi)


@pytest.fixture(scope="module")
def flow():
    return pf.real_nvp(dim=2, key=0, n_layers=2, width=8)


def section(text, heading):
    """The HTML of one section."""
    start = text.index(f"<h2>{heading}</h2>")
    return text[start : text.index("</section>", start)]


def headings(text):
    return re.findall(r"<h2>([^<]*)</h2>", text)


def compiled(bijection, z):
    return jax.jit(lambda z: bijection.forward(z))(z)


def plain(text):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()


def test_all_sections_are_in_order(tmp_path, flow):
    x = normal(300, 2)
    text = report_text(
        tmp_path / "r.html", certificate=SICK, schema=SCHEMA, flow=flow, data=x, scores=standard(x),
        sample_scores=standard(normal(99, 2, 1)), row_numbers=np.arange(300) + 1,
    )  # fmt: skip
    assert headings(text) == ALL
    assert "Do not use this model: it does not undo itself." in plain(text[text.index("<h1>") : text.index("<h2>")])
    assert not jax.config.jax_enable_x64
    page = Page(text)
    assert page.bare == []
    assert not re.search(r"url\((?!#)|@import|<script", text)
    identities = re.findall(r'<[^<>]* id="([^"]+)"', text)
    assert len(identities) == len(set(identities))
    for heading in ("All tests", "Calibration", "Unusual rows", "Corner plot", "Training curve"):
        assert f"<dt>{heading}</dt>" in text


def test_main_part_has_no_technical_words(tmp_path, flow):
    rows = [Row(name, 2.0, 1.0, False, "T^-1 and |z|", "the log-det", "See the Jacobian.") for name in _MEANINGS]
    x = normal(300, 2)
    page = Page(
        report_text(
            tmp_path / "r.html",
            certificate=Certificate(tuple(rows), "float32"),
            schema=SCHEMA,
            flow=flow,
            data=x,
            scores=standard(x),
            sample_scores=standard(normal(99, 2, 1)),
            row_numbers=np.arange(300) + 1,
        )
    )
    assert TECHNICAL.search(page.text)
    assert not TECHNICAL.search(page.main)
    assert page.main.index("Do not use this model: the model gives no number") < page.main.index("Flow gains")
    assert "And 18 more, see all tests below." in page.main


def test_columns_table_compares_rows_and_samples():
    x, samples = normal(400, 13), normal(300, 13, 1)
    x[:100, 4], samples[:, 4] = 0.0, np.abs(samples[:, 4]) + 2.0
    x[:, 5], samples[:, 5] = 1e6 + np.arange(400), 1e6 + np.arange(300)
    gaps = Gaps.of(x, samples)
    names = [f"<{j}> " + "long name " * 4 for j in range(13)]
    part = columns_table_section(x, samples, names, gaps, (x.min(0), x.max(0)))
    lines = [plain(line) for line in re.findall("<tbody>.*?</tbody>", part.body, re.DOTALL)]
    assert len(lines) == 13
    assert "1 column with smaller differences" in part.body
    first = lines[0].split()
    low, mean, high = (
        f"{value:.2f}".replace("-", "\N{MINUS SIGN}") for value in (x[:, 4].min(), x[:, 4].mean(), x[:, 4].max())
    )
    assert first[-15:-7] == [f"{gaps.values[4]:.1%}", "rows", low, mean, high, "25.0%", "25.0%", "0%"]
    outside = np.mean(samples[:, 4] > x[:, 4].max())
    assert first[-1] == (f"{outside:.1%}" if outside else "0%")
    assert "1,000,399" in next(line for line in lines if line.startswith("&lt;5&gt;"))
    assert names[4][:30] in gaps.describe(names)
    assert "beyond what chance allows" in gaps.describe(names)


def test_correlations_of_the_pair_that_differs_are_underlined():
    x, samples = normal(2000, 6), normal(2000, 6, 1)
    samples[:, 3] = 0.6 * samples[:, 1] + 0.8 * samples[:, 3]
    part = correlations_section(x, samples, ["a", "b", "c", "<d>", "e", "f"]).body
    line = re.search("<tbody>\\s*<tr>(.*?)</tr>", part, re.DOTALL)[1]
    assert plain(line).startswith("b and &lt;d&gt;")
    assert "far>+0.5" in line
    assert part.count("class=far") == 1
    assert "The 8 of 15 pairs that differ most." in part
    assert correlations_section(x[:, :1], samples[:, :1], ["a"]) is None


def test_missing_input_omits_its_section(tmp_path):
    text = report_text(tmp_path / "r.html", history=None)
    expected = [
        "Column by column", "Correlations", "Data against samples", "Calibration", "Leaderboard", "The model",
        "How to read this",
    ]  # fmt: skip
    assert headings(text) == expected
    assert "<dt>Training curve" not in text
    assert "<dt>Unusual rows" not in text
    three = {"data": normal(50, 3), "samples": normal(50, 3, 1), "columns": list("abc")}
    wide = report_text(tmp_path / "s.html", history=None, flow=pf.real_nvp(dim=3, key=0, n_layers=2, width=8), **three)
    assert headings(wide) == expected
    assert not is_plane(pf.real_nvp(dim=2, key=0, n_layers=2, width=8, context_dim=1))


@pytest.mark.parametrize("certificate", [SICK, SICK.to_dict()], ids=["object", "dict"])
def test_certificate_lists_failed_tests_first(certificate):
    part = certificate_section(certificate).body
    text = plain(part)
    assert text.index("Not healthy") < text.index("FAILED round trip") < text.index("FAILED condition")
    assert text.index("FAILED condition") < text.index("not tested integral") < text.index("The 2 tests that passed")
    folded = part[part.index("<details>") :]
    assert re.findall(r'<th scope="row">([^<]*)', folded) == ["finite values", "log-det"]
    assert "Suggestion: do less &lt;script&gt;" in text
    assert "a &lt; b" in text
    assert ">0.0032<" in part


def test_healthy_certificate_is_folded():
    part = certificate_section(Certificate((SICK.rows[0],), "float32")).body
    assert "The test that passed" in part
    assert part.index("<details>") < part.index("<table")


def test_columns_section():
    assert plain(columns_section(SCHEMA).body) == (
        "Column Kind Unit How it was chosen a real km declared b positive \N{EN DASH} detected: no value below zero"
    )
    bare = columns_section([{"name": "a", "kind": "real"}])
    assert plain(bare.body) == "Column Kind a real"  # the other columns are empty
    column = SimpleNamespace(name="a", kind="positive", describe=lambda: "positive, above 0")
    many = columns_section(SimpleNamespace(columns=[column] * 40)).body
    assert "<summary>40 columns: 40 positive</summary>" in many
    assert many.count("<tr>") == 41


def test_ten_least_likely_rows_are_listed_with_row_numbers():
    x = normal(1000, 2)
    x[[17, 500]] = [[9.0, 0.5], [0.0, -7.0]]
    part = unlikely_section(x, standard(x), "ab", None, np.arange(1000) * 2 + 5).body
    lines = re.findall(r"<tr><th scope=\"row\" class=\"number\">(.*?)</tr>", part)
    cells = [plain(line).split() for line in lines]
    order = np.argsort(standard(x))[:10]
    assert [int(line[0]) for line in cells] == (order * 2 + 5).tolist()
    edge = np.sort(standard(x))[9]  # the lower of the two rows at the quantile
    assert cells[0][1:3] == ["\N{MINUS SIGN}42.46", f"{edge - standard(x)[17]:.2f}"]
    assert cells[9][2] == "\N{EN DASH}"
    assert cells[0][3:] == ["9", "0.5"]
    assert "<span class=far>9</span>" in lines[0]
    assert "far>0.5" not in lines[0]
    assert "<span class=far>\N{MINUS SIGN}7</span>" in lines[1]


def test_rows_of_zero_density_and_without_row_numbers():
    x, scores = normal(50, 2), np.linspace(-3.0, 0.0, 50)
    scores[[3, 8]] = -np.inf
    part = unlikely_section(x, scores, "ab").body
    assert "2 rows have a density of zero" in part
    assert part.count("\N{MINUS SIGN}\N{INFINITY}") == 2
    assert 'class="number">Row' not in part
    scores[3] = np.nan
    assert "cannot be shown: scores: 1 of 50 are NaN" in unlikely_section(x, scores, "ab").body


def test_share_of_rows_below_the_lowest_samples():
    """The scores of rows equal those of samples, except 40 of 1,000 far below."""
    scores = np.linspace(-3.0, 0.0, 1000)
    rows = np.where(np.arange(1000) % 25 == 0, -9.0, scores)
    match = re.search(r"; (\d+\.\d)% of the rows lie below", unlikely_section(normal(1000, 2), rows, "ab", scores).body)
    assert float(match[1]) == pytest.approx(5.0, abs=0.15)


def test_calibration_names_columns_outside_the_band():
    x = normal(2000, 3)
    samples = normal(2000, 3, 1) + np.array([0.0, 0.4, 0.0])
    part = calibration_section(x, samples, ["a", "<b>", "c"]).body
    match = re.search(r"Outside the band: &lt;b&gt; \((\d+\.\d)% of the rows\)", part)
    assert float(match[1]) == pytest.approx(100 * 2 * 0.0793, abs=5.0)  # Phi(0.2) - Phi(-0.2)
    same = calibration_section(x, normal(2000, 3, 1), "abc").body
    assert "All 3 columns and 16 weighted sums of columns stay in the band" in same


def test_projections_detect_missed_dependence():
    z = normal(3000, 2)
    x = np.stack([z[:, 0], 0.95 * z[:, 0] + np.sqrt(1 - 0.95**2) * z[:, 1]], axis=1)
    part = calibration_section(x, normal(3000, 2, 1), "ab").body
    assert re.search(r"Outside the band: \d+ of 16 weighted sums of columns", part)


def test_draws_at_each_context_detect_a_conditional_shift():
    """The model is right on average over contexts, but shifted at each context."""
    random = np.random.default_rng(0)
    context = random.normal(size=(2000, 1))
    x = context + random.normal(size=(2000, 2))
    samples, draws = -context + random.normal(size=(2000, 2)), -context + random.normal(size=(31, 2000, 2))
    assert "Both columns" in calibration_section(x, samples, "ab").body
    right = context + random.normal(size=(31, 2000, 2))
    assert "Both columns" in calibration_section(x, samples, "ab", right).body
    assert "Outside the band" in calibration_section(x, samples, "ab", draws).body


def test_ranks_at_the_context_of_a_row_are_uniform():
    """Kolmogorov's band at level 1 - 1e-7, also with ties; a wrong context is detected."""
    random = np.random.default_rng(0)
    means = 5.0 * random.normal(size=4000)
    rows, draws = random.normal(means), random.normal(means, size=(31, 4000))
    band = kolmogorov_band(4000, 1, 1 - 1e-7)
    assert distance(np.sort(ranks(rows, draws, random)))[0] < band
    rounded = np.round(rows - means), np.round(draws - means)  # a third of all values is zero
    assert distance(np.sort(ranks(*rounded, random)))[0] < band
    assert distance(np.sort(ranks(rows, np.roll(draws, 1, axis=1), random)))[0] > band


def test_equal_discrete_distributions_stay_in_the_band():
    """At level 1 - 1e-7; half of all values are ties."""
    random = np.random.default_rng(0)
    rows, samples = random.poisson(0.7, 3000).astype(float), random.poisson(0.7, 3000).astype(float)
    u = ranks(rows, samples[:, None], random)
    assert distance(np.sort(u))[0] < kolmogorov_band(1500, 1, 1 - 1e-7)
    assert 0.0 <= u.min() <= u.max() <= 1.0


def test_most_different_columns_are_drawn(tmp_path):
    z = normal(3000, 30)
    data, samples = z.copy(), normal(3000, 30, 1)
    samples[:, 21] *= 2.0  # a marginal
    data[:, 5] = 0.6 * data[:, 5] + 0.8 * data[:, 28]  # a dependence; both stay standard normal
    columns = influential_columns(data, samples, 3)
    assert columns == [5, 21, 28]
    assert influential_columns(data[:, :3], samples[:, :3], 3) == [0, 1, 2]
    names = [f"column {j}" for j in range(30)]
    text = report_text(tmp_path / "r.html", data=data, samples=samples, columns=names)
    picture = section(text, "Data against samples")
    assert "Of 30 columns the 8 are drawn" in picture
    for j in columns:
        assert f">column {j}</text>" in picture


def test_report_stays_small_and_safe_for_any_table(tmp_path):
    random = np.random.default_rng(0)
    wide = random.standard_cauchy((3000, 30)) ** 3
    odd = [HOSTILE, "w" * 300, "\u202eright to left", "bell\x07 \x1b[31m", "</td></table>", "\ud800", ""]
    names = odd + [f"\N{HEBREW LETTER ALEF} {j} " * 40 for j in range(23)]
    schema = [{"name": name, "kind": HOSTILE, "unit": HOSTILE, "note": name} for name in names]
    text = report_text(
        tmp_path / "r.html", data=wide, samples=wide[::-1], columns=names, schema=schema, scores=standard(wide),
        sample_scores=standard(wide)[:9], row_numbers=np.arange(3000), certificate=SICK,
        facts={"columns": "".join(names)},
    )  # fmt: skip
    assert len(text.encode()) < 2_000_000
    page = Page(text)
    assert page.bare == []
    assert "<script" not in text.lower()
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.slow
def test_report_of_thousands_of_columns_stays_small(tmp_path):
    names = [f"column {j} " + "x" * 280 for j in range(2000)]
    schema = [{"name": name, "kind": "real", "note": "y" * 300} for name in names]
    x = normal(60, 2000)
    text = report_text(
        tmp_path / "r.html", data=x, samples=normal(60, 2000, 1), columns=names, schema=schema, scores=standard(x),
        facts={"columns": ", ".join(names)},
    )  # fmt: skip
    assert len(text) < 2_000_000
    assert "The first 500 are listed" in text
    assert "The 40 columns shown" in text


def test_layers_compose_to_the_flow(flow):
    layers = drawn_layers(flow.bijection)
    assert [layer_name(layer) for layer in layers] == ["Coupling", "Coupling", "Standardise"]
    z = x = jnp.array([0.3, -1.2])
    for layer in layers:
        x = compiled(layer, x)
    np.testing.assert_allclose(x, compiled(flow.bijection, z), rtol=1e-5)


def test_layers_of_an_inverse_are_reversed():
    shift, scale = (Elementwise(Affine(shift=1.0), (2,)), Elementwise(Affine(scale=3.0), (2,)))
    for inner in (Chain([shift, scale]), Repeat([shift, scale]), Chain([Inverse(shift), scale])):
        inverse = Inverse(inner)
        x = z = jnp.array([0.3, -1.2])
        for layer in drawn_layers(inverse):
            x = compiled(layer, x)
        np.testing.assert_allclose(x, compiled(inverse, z), rtol=1e-5)
        assert len(drawn_layers(inverse)) == 2


def test_many_layers_are_thinned():
    deep = pf.Flow(pf.bases.Normal((2,)), Repeat([Elementwise(Affine(shift=0.1 * k), (2,)) for k in range(40)]))
    part = layers_section(deep)
    assert "Of 40 layers 15 are shown." in part.body
    assert ">40: Elementwise</text>" in part.body
    assert len(part.body) < 300_000


def test_broken_flow_is_reported_with_its_error(flow):
    def broken(leaf):
        return leaf * np.nan if isinstance(leaf, jax.Array) and leaf.ndim == 3 else leaf

    broken_flow = jax.tree.map(broken, flow)
    assert (
        "The density cannot be drawn: log_prob is NaN"
        in density_section(broken_flow, normal(9, 2), normal(9, 2), "ab").body
    )
    assert "The grid cannot be followed to the data: layers[0]" in layers_section(broken_flow).body


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"certificate": {"ok": True}}, ValueError, "certificate: expected what Certificate.to_dict made"),
        ({"schema": []}, ValueError, "schema: expected at least one column"),
        ({"schema": [{"name": "a"}]}, ValueError, "schema: expected a name and a kind"),
        ({"scores": np.zeros(3)}, ShapeError, r"scores: expected shape \(200,\), .* got \(3,\)"),
        ({"scores": np.zeros(200), "row_numbers": [1]}, ShapeError, r"row_numbers: expected shape \(200,\)"),
        ({"draws": np.zeros((5, 2))}, ShapeError, r"draws: expected shape \(k, 200, 2\)"),
        ({"columns": ["a"]}, ValueError, "columns: expected 2 names, .* got 1"),
    ],
)
def test_bad_section_input_is_an_error_and_writes_nothing(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        report_text(tmp_path / "r.html", **changes)
    assert list(tmp_path.iterdir()) == []


def test_names_are_cleaned_and_isolated():
    assert clean("a\tb\x00\u202ec\ud800") == "a b\ufffd\ufffdc\ufffd"
    assert clean("x" * 5000) == "x" * 1999 + "\N{HORIZONTAL ELLIPSIS}"
    assert clean("\N{ZERO WIDTH NON-JOINER}\N{NO-BREAK SPACE}\N{ARABIC LETTER ALEF}") == "\u200c\xa0\u0627"
    assert name_html("<i>") == "<bdi>&lt;i&gt;</bdi>"
    assert (
        short_html('"' * 30) == f'<bdi title="{"&#34;" * 30}">{"&#34;" * 10}\N{HORIZONTAL ELLIPSIS}{"&#34;" * 9}</bdi>'
    )


def test_number_html_formats():
    signs = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
    assert [number_html(value) for value in (None, 0.0, -0.25, 12345.6, np.nan, -np.inf)] == [
        "\N{EN DASH}", "0", f"{signs[0]}0.25", "12,346", "not a number", f"{signs[0]}infinite",
    ]  # fmt: skip
    assert number_html(-3.2e-7) == f"{signs[0]}3.2 {signs[1]} 10<sup>{signs[0]}7</sup>"
