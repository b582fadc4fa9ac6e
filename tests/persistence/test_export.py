"""Exported programs: the same numbers in a process that cannot import pushforward, for any number of rows."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

import pushforward as pf
from pushforward.errors import ModelFileError
from pushforward.persistence import export

SIZES = {"width": 8, "depth": 1, "n_layers": 2}
FLOWS = {
    "nsf": lambda: pf.nsf(2, key=0, **SIZES),
    "maf context": lambda: pf.maf(3, key=0, context_dim=2, **SIZES),
    "dense": lambda: pf.linear_flow(3, kind="dense", key=0),
}


def programs(folder):
    return [jax_export.deserialize(bytearray((folder / f"{name}.bin").read_bytes())) for name in ("score", "sample")]


@pytest.mark.parametrize(
    "name", ["maf context", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nsf", "dense"))]
)
def test_programs_match_the_flow(name, tmp_path):
    flow = FLOWS[name]()
    export(flow, tmp_path / "flow", platforms=("cpu",))
    score, sample = programs(tmp_path / "flow")
    n, key = 5, jax.random.key(3)
    context = None if flow.context_shape is None else jnp.linspace(-1, 1, n * 2).reshape(n, 2)
    more = () if context is None else (context,)
    x, log_p = sample.call(jax.random.key_data(key), np.arange(n, dtype=np.uint32), *more)
    expected, scores = flow.sample_and_log_prob(() if context is not None else n, key=key, context=context)
    np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(log_p, scores, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(score.call(x, *more), flow.log_prob(x, context), rtol=1e-5, atol=1e-4)
    assert score.call(x[:2], *(part[:2] for part in more)).shape == (2,)
    part, _ = sample.call(jax.random.key_data(key), np.array([4], np.uint32), *(part[4:] for part in more))
    np.testing.assert_allclose(part, x[4:], rtol=1e-5, atol=1e-5)


def test_readme_runs_without_pushforward(tmp_path):
    folder = tmp_path / "flow"
    export(flow := FLOWS["nsf"](), folder)  # for every platform: lowering asks for none of them
    text = (folder / "README.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    before = "import sys; sys.modules['pushforward'] = None; seed = 0; n = 4\n"
    after = "\nprint(*map(repr, log_p.tolist()), sep='\\n')"
    ran = subprocess.run(
        [sys.executable, "-c", before + code + after], cwd=folder, capture_output=True, text=True, check=True
    )
    expected = flow.log_prob(flow.sample(4, key=0))
    np.testing.assert_allclose([float(line) for line in ran.stdout.split()], expected, rtol=1e-5, atol=1e-4)


def test_invalid_paths_and_arguments_are_errors(tmp_path):
    flow = pf.bases.Normal((2,))
    with pytest.raises(TypeError, match="flow"):
        export({}, tmp_path / "a")
    with pytest.raises(ValueError, match="platforms: expected"):
        export(flow, tmp_path / "a", platforms=("gpu",))
    with pytest.raises(ModelFileError, match="does not exist"):
        export(flow, tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(ModelFileError, match="is a file"):
        export(flow, tmp_path / "file")
    export(flow, tmp_path / "a", platforms=("cpu",))
    with pytest.raises(ModelFileError, match="already has programs"):
        export(flow, tmp_path / "a", overwrite=False)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["README.md", "sample.bin", "score.bin"]
