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


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system keeps no status file of a process")
def test_programs_of_structures_that_are_gone_are_released():
    """Flows of another structure each: memory and the number of compiled programs stop growing."""
    done = subprocess.run([sys.executable, "-c", STRUCTURES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    megabytes, programs = (float(word) for word in done.stdout.split())
    print(f"{megabytes:.2f} MB for each of the last 20 structures, {programs:.0f} programs more")
    assert megabytes < 4
    assert programs <= 4
