"""Machine: what the figures were measured on."""

import os
import platform
from pathlib import Path


def describe_machine(broker_version: str) -> dict[str, str]:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "broker": f"{broker_version}, beside the workers",
        "load before": f"{load} (1, 5, 15 minutes)",
    }


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _processor() -> str:
    return _field("/proc/cpuinfo", "model name")


def _memory() -> str:
    kilobytes = _field("/proc/meminfo", "MemTotal").split()[0]
    return f"{int(kilobytes) / 1024**2:.0f} GiB" if kilobytes.isdigit() else kilobytes
