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
