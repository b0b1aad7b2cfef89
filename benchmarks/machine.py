"""Say on what machine a figure was taken."""

import datetime as dt
import os
import platform
from pathlib import Path


def machine() -> dict[str, str]:
    """Return processor, its widest vectors, cores, system, Python and date."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "processor": names[0] if names else platform.processor(),
        "vector instructions": next((f for f in ("avx512f", "avx2", "avx") if f in flags), ""),
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
