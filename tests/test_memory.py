"""Peak memory: the result, its copies and one chunk of work, for any number of samples."""

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
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return int(process.stdout) * 1024


# The resource usage of a child includes memory of its parent; the status file does not.
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")
@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["maf", "nsf"])
def test_peak_memory_grows_only_by_copies_of_the_result(recipe):
    """98,000 more samples of 256 numbers may need at most three times their own size (0.3 GB)."""
    few, many = peak_bytes(recipe, FEW), peak_bytes(recipe, MANY)
    copies = (many - few) / ((MANY - FEW) * DIM * 4)
    print(f"{recipe}: {few / 1e6:.0f} MB for {FEW} rows, {many / 1e6:.0f} MB for {MANY}, so {copies:.2f} copies")
    assert copies <= 3


STRUCTURES = """
import gc
from pathlib import Path
import jax, numpy as np
import pushforward as pf

def mark():
    gc.collect()
    memory = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
    return memory, len(jax.devices()[0].client.live_executables())

x, marks = np.zeros((5, 2)), []
for k in range(40):
    pf.nice(2, key=0, n_layers=1, width=3 + k).log_prob(x)
    if k + 1 in (20, 40):
        marks.append(mark())
(before, programs_before), (after, programs_after) = marks
print((after - before) / 20, programs_after - programs_before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc/self/status")
def test_programs_of_unused_structures_are_released():
    """Memory and the number of compiled programs do not grow with the number of flow structures."""
    process = subprocess.run([sys.executable, "-c", STRUCTURES], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    megabytes, programs = (float(word) for word in process.stdout.split())
    print(f"{megabytes:.2f} MB for each of the last 20 structures, {programs:.0f} programs more")
    assert megabytes < 4
    assert programs <= 4
