# SPDX-License-Identifier: Apache-2.0
"""What a host may run out of, or have in its way: space, a clock that is right, a name that is free."""

from __future__ import annotations

import contextlib
import os
import time
import typing

import pytest

from lab import poll
from lab.host import Host

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
CLOCK = "/run/lab/clock"
CLOCK_IS_READ = 1  # seconds between two looks at it

needs_clock = pytest.mark.skipif(not os.path.exists(FAKETIME), reason="libfaketime isn't installed")


@contextlib.contextmanager
def remounted(host: Host, path: str, options: str, undo: str) -> typing.Iterator[None]:
    """`full` for a disk without space. A program that writes just then makes the kernel refuse so small a size."""

    def mount() -> bool:
        wanted = f"size={used_kib(host, path)}k" if options == "full" else options
        return host.run(["mount", "-o", f"remount,{wanted}", path], check=False).returncode == 0

    poll.until(f"{path} is {options}", mount, 5)
    try:
        yield
    finally:
        host.run(["mount", "-o", f"remount,{undo}", path])


def used_kib(host: Host, path: str) -> int:
    stat = host.call(os.statvfs, path)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize // 1024


def set_clock(host: Host, offset: str) -> None:
    """The wall clock of programs that were started with clocked(), from now on."""
    host.write(f"{CLOCK}.new", f"{offset}\n")
    host.call(os.rename, f"{CLOCK}.new", CLOCK)


def jump(host: Host, offset: str) -> None:
    """set_clock(), and returns when all have noticed."""
    set_clock(host, offset)
    time.sleep(CLOCK_IS_READ + 0.2)


def clocked() -> dict[str, typing.Any]:
    """For start_agent() and start_broker(); the programs that these start have the right time."""
    environment = [
        f"LD_PRELOAD={FAKETIME}",
        f"FAKETIME_TIMESTAMP_FILE={CLOCK}",
        f"FAKETIME_CACHE_DURATION={CLOCK_IS_READ}",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
    ]
    return {"before": ["env", *environment]}


_SQUATTER = """
import socket, sys, time
name = b"\\0" + sys.argv[1].encode()
holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
print("ready", flush=True)
while True:
    try:
        holder.bind(name.ljust(108, b"\\0"))
        break
    except OSError:
        time.sleep(0.01)
print("bound", flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def squatter(host: Host, name: str) -> typing.Iterator[typing.Callable[[], bool]]:
    """An ordinary user's program takes an abstract socket name as soon as it's free; yields whether it has it."""
    log = host.log_dir / "squatter.log"
    log.unlink(missing_ok=True)
    process = host.popen(["python3", "-c", _SQUATTER, name], uid=65534, log=log.name)
    try:
        poll.until("it waits for the name", lambda: "ready" in log.read_text(), 10, every=0.02)
        yield lambda: "bound" in log.read_text()
    finally:
        process.kill()
        process.wait(5)
