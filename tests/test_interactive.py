"""The interactive page: made from its sources, small, true to the library, and driven in a headless browser."""

import base64
import html
import json
import re
import shutil
import subprocess

import equinox as eqx
import jax
import jax.numpy as jnp
import make_interactive
import numpy as np
import pytest

from pushforward.bijections import Chain, Planar

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
MAX_BYTES = 1_000_000
FLOOR = 0.998  # of w.v in a planar layer


@pytest.fixture(scope="module")
def page():
    return make_interactive.PAGE.read_text(encoding="utf-8")


def test_page_is_made_from_its_sources(page):
    assert make_interactive.assembled(*make_interactive.stored(page)) == page, "run python tools/make_interactive.py"


def test_page_is_small_and_names_no_other_server(page):
    assert len(page.encode()) < MAX_BYTES
    assert not re.search(r"https?:|\ssrc=|@import|url\(|fetch\(|XMLHttpRequest|WebSocket", page)


def test_browsers_do_not_restore_controls_without_the_picture(page):
    controls = re.findall(r'<form[^>]*>|<input[^>]*id="time"[^>]*>', page)
    assert len(controls) == 3
    assert all('autocomplete="off"' in control for control in controls)


def luminance(colour):
    values = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("theme", [0, 1])
def test_borders_of_controls_are_seen(page, theme):
    """The contrast of WCAG 2.2, 1.4.11."""
    assert not re.search(r"(select|button|chips span)[^}]*1px solid var\(--(?!edge)", page)
    edge, *grounds = (re.findall(rf"--{name}: (#\w+);", page)[theme] for name in ("edge", "page", "panel"))
    for ground in grounds:
        low, high = sorted((luminance(edge), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 3


def floats(text):
    return np.frombuffer(base64.b64decode(text), "<f4")


def test_stored_points_are_those_of_the_librarys_map(page):
    record = json.loads(make_interactive.stored(page)[0])["flows"]["planar/moons/32"]
    weights, points = floats(record["weights"]).reshape(-1, 5), floats(record["points"]).reshape(-1, 5)
    layers = []
    for v1, v2, w1, w2, bias in weights:
        m = w1 * v1 + w2 * v2
        u = jnp.array([v1, v2]) * (1 if m >= 0 else 1 / (1 + m / FLOOR))  # u of m = s / (1 - s / FLOOR), s = w.u
        layer = Planar(2, key=jax.random.key(0))
        leaves = u, jnp.array([w1, w2]), jnp.array(bias)
        layers.append(eqx.tree_at(lambda planar: (planar.u, planar.w, planar.bias), layer, leaves))
    x, log_det = jax.vmap(Chain(layers).forward_and_log_det)(jnp.asarray(points[:, :2]))
    np.testing.assert_allclose(np.column_stack([x, log_det]), points[:, 2:], atol=1e-3)


@pytest.mark.skipif(BROWSER is None, reason=f"no browser on the path, looked for {', '.join(BROWSERS)}")
@pytest.mark.slow
def test_controls_change_the_picture_and_densities_integrate_to_one(tmp_path):
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1200,900")
    address = f"{make_interactive.PAGE.as_uri()}#selftest"
    command = [BROWSER, *options, f"--user-data-dir={tmp_path}", "--dump-dom", address]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    text = re.search(r'id="selftest-result"[^>]*>(.*?)</pre>', run.stdout, re.S).group(1)
    assert text, run.stderr[-2000:]
    report = json.loads(html.unescape(text))
    assert not report["errors"]
    assert report["flows"] > 80
    assert report["worstPoint"] < 1e-3
    assert report["worstLogDet"] < 1e-3
    assert all(report["controls"].values())
    assert not [line for line in run.stderr.splitlines() if ":CONSOLE" in line]
