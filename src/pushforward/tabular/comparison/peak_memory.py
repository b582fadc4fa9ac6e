"""Peak memory of this process since a reset, where the system measures it (Linux)."""

from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak() -> bool:
    """Reset the peak; False where the system cannot, and `peak_megabytes` then includes earlier peaks."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def peak_megabytes() -> float | None:
    """Peak resident memory since the reset, in MiB; None where the system does not measure it."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(kilobytes[0]) / 1024 if kilobytes else None
