# SPDX-License-Identifier: Apache-2.0
"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import os
import pathlib
import platform
import time

_CPU_OF_PROCESS = 2  # CPUCLOCK_SCHED, of all its threads: clock_getcpuclockid(3)


def memory_mb(pid: int) -> dict[str, float]:
    """RSS, PSS and anonymous memory (proc(5), smaps_rollup)."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.split()[-1] == "kB"}
    return {"rss": kib["Rss"] / 1024, "pss": kib["Pss"] / 1024, "anon": kib["Anonymous"] / 1024}


def rss_kib(pid: int) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has no memory")


def cpu_ms(pid: int) -> float:
    """By the process's own CPU clock: /proc/PID/stat counts in steps of 10 ms."""
    return time.clock_gettime(((~pid) << 3) | _CPU_OF_PROCESS) * 1000


def switches(pid: int) -> int:
    """How often its threads gave up the CPU by themselves: about once a wake-up."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def children(pid: int) -> list[int]:
    out = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        out += [int(word) for word in (task / "children").read_text().split()]
    return out


def in_network_of(host_pid: int, program: str) -> list[int]:
    """Processes of that name in a host, as the machine numbers them: the host has a PID namespace of its own."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == program:
                if os.readlink(entry / "ns/net") == os.readlink(f"/proc/{host_pid}/ns/net"):
                    found.append(int(entry.name))
        except OSError:
            continue
    return found


def machine() -> dict[str, object]:
    model = [line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        "cores": os.cpu_count(),
        "cpu": model[0] if model else platform.machine(),
        "kernel": platform.release(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "load": [round(x, 2) for x in os.getloadavg()],
    }
