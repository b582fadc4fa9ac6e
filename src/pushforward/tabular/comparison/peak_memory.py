"""The largest memory of this process for a while, where the system keeps count (Linux)."""

from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_high_water() -> bool:
    """Start counting anew; False where that is not possible, and `high_water` then tells nothing new."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def high_water() -> float | None:
    """The largest resident memory since the count began, in MiB."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(found[0]) / 1024 if found else None
