"""Memory: the result and its copies, and one chunk of work, however many rows are asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

PEAK = """
from pathlib import Path
import pushforward as pf
flow = pf.{recipe}(dim={dim}, n_layers=2, width=64, key=0)
samples, _ = flow.sample_and_log_prob({n}, key=0)
assert samples.shape == ({n}, {dim})
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
DIM, FEW, MANY = 256, 2_000, 100_000


def peak_bytes(recipe: str, n: int) -> int:
    program = PEAK.format(recipe=recipe, dim=DIM, n=n)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) * 1024


# The system's count of a child begins with its parent's memory; that of the status file with the program itself.
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system keeps no status file of a process")
@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["maf", "nsf"])
def test_peak_memory_grows_by_copies_of_the_result_alone(recipe):
    """100,000 x 256: 98,000 rows more may cost three times their own size (0.3 GB), whatever the flow works with."""
    few, many = peak_bytes(recipe, FEW), peak_bytes(recipe, MANY)
    copies = (many - few) / ((MANY - FEW) * DIM * 4)
    print(f"{recipe}: {few / 1e6:.0f} MB for {FEW} rows, {many / 1e6:.0f} MB for {MANY}, so {copies:.2f} copies")
    assert copies <= 3


STRUCTURES = """
import gc, sys
from pathlib import Path
import jax, numpy as np
import pushforward as pf

def mark():
    gc.collect()
    memory = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
    return memory, len(jax.devices()[0].client.live_executables())

x, marks = np.random.default_rng(0).normal(size=(64, 2)), []
for k in range({n}):
    flow = {build}
    {work}
    if k + 1 in ({n} // 2, {n}):
        marks.append(mark())
(before, programs_before), (after, programs_after) = marks
print((after - before) / ({n} - {n} // 2), programs_after - programs_before)
"""
WORK = {
    "scores": (40, "pf.nice(2, key=0, n_layers=1, width=3 + k)", "flow.log_prob(x)"),
    "samples": (40, "pf.maf(2, key=0, n_layers=1, width=3 + k)", "flow.sample(5, key=0)"),
    "fits": (20, "pf.nice(2, key=0, n_layers=1, width=3 + k)", "pf.fit(flow, x, key=0, max_epochs=1, progress=False)"),
}  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system keeps no status file of a process")
@pytest.mark.parametrize(
    "name", ["scores", *(pytest.param(name, marks=pytest.mark.slow) for name in WORK if name != "scores")]
)
def test_programs_of_structures_that_are_gone_are_released(name):
    """Flows of another structure each: memory and the number of compiled programs stop growing."""
    n, build, work = WORK[name]
    program = STRUCTURES.format(n=n, build=build, work=work)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    megabytes, programs = (float(word) for word in done.stdout.splitlines()[-1].split())
    print(f"{name}: {megabytes:.2f} MB for each of the last {n - n // 2} structures, {programs:.0f} programs more")
    assert megabytes < (4 if name != "fits" else 8)  # a fit compiles two large programs, whose heap has holes
    assert programs <= 4
