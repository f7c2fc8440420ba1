# SPDX-License-Identifier: Apache-2.0
"""What a fault costs: processor and memory of one process over a time, as the kernel counts them; and steady traffic."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import time
import typing

from lab.world import Traffic, World

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Cost:
    seconds: float = 0  # wall
    cpu: float = 0  # seconds of all threads
    peak_kib: int = 0  # most that was resident at any moment

    @property
    def share(self) -> float:
        """Of one core."""
        return self.cpu / self.seconds


def cpu_seconds(pid: int) -> float:
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_kib(pid: int, what: str = "VmRSS") -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has no {what}")


@contextlib.contextmanager
def cost(pid: int, at_least: float = 0) -> typing.Iterator[Cost]:
    """Filled in at the end. `at_least`: seconds to stay, so that a short burst isn't taken for a rate."""
    out = Cost()
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from here
    begin, before = time.monotonic(), cpu_seconds(pid)
    yield out
    time.sleep(max(0.0, at_least - (time.monotonic() - begin)))
    out.seconds, out.cpu = time.monotonic() - begin, cpu_seconds(pid) - before
    out.peak_kib = memory_kib(pid, "VmHWM")


class SteadyTraffic:
    """Both directions, from the first to the last test of a module; each test answers for what failed in its time."""

    def __init__(self, world: World) -> None:
        self._traffic: Traffic = world.traffic()

    @contextlib.contextmanager
    def unharmed(self) -> typing.Iterator[None]:
        self._traffic.more(2)  # what failed so far has been written down
        before = {name: load.report().failed for name, load in self._traffic.loads.items()}
        yield
        self._traffic.more(2)
        for name, load in self._traffic.loads.items():
            report = load.report()
            assert report.failed == before[name], f"{name}: {report.describe_failures()}"

    def __enter__(self) -> SteadyTraffic:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        for load in self._traffic.loads.values():
            load.stop()
