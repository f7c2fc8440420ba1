# SPDX-License-Identifier: Apache-2.0
"""Crashes at the durable steps of the programs (agent/base/failpoint.h): which steps there are, and dying at one."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from lab import layout, poll
from lab.hawser import HawserHost

VARIABLE = "HAWSER_FAILPOINT"
KILLED = -9


def compiled_in() -> bool:
    """They are in the builds for development and for sanitizers, never in a package."""
    return VARIABLE.encode() in (layout.bin_dir() / "hawserd").read_bytes()


# A mark for tests.
needed = pytest.mark.skipif(
    bool(os.environ.get("HAWSER_BIN")) and not compiled_in(), reason="a build without fail-points"
)


def at(step: str, passage: int = 1) -> dict[str, str]:
    return {VARIABLE: f"{step}:crash@{passage}"}


def fail(step: str, error: str = "ENOSPC") -> dict[str, str]:
    return {VARIABLE: f"{step}:errno={error}"}


def fail_from(step: str, passage: int, error: str = "ENOSPC") -> dict[str, str]:
    return {VARIABLE: f"{step}:errno={error}@{passage}+"}


def slow(step: str, milliseconds: int) -> dict[str, str]:
    return {VARIABLE: f"{step}:delay={milliseconds}"}


def hold(step: str, milliseconds: int) -> dict[str, str]:
    """The whole program, once; held() says when."""
    return {VARIABLE: f"{step}:delay={milliseconds}@1"}


def held(vm: HawserHost, step: str, log: str = "hawserd.log", timeout: float = 30) -> None:
    """Waits until the program is at the step that it's to be held at."""
    poll.until(f"it's held at {step}", lambda: step in told(vm, log), timeout)


TELL = {VARIABLE: "*:tell"}


def told(vm: HawserHost, log: str) -> list[str]:
    """The steps that a program started with TELL has passed, each once; numbers that change are `*`."""
    text = (vm.host.log_dir / log).read_text(errors="replace")
    names = [re.sub(r"\d+", "*", name) for name in re.findall(r"^failpoint (\S+)$", text, re.MULTILINE)]
    return list(dict.fromkeys(names))


def dies(process: subprocess.Popen | None, what: str, timeout: float = 30) -> None:
    """Waits for the crash; a step that isn't reached is a failed test."""
    assert process is not None
    poll.until(f"the crash at {what}", lambda: process.poll() is not None, timeout)
    assert process.returncode == KILLED, f"{what}: ended with {process.returncode}"


def forget(vm: HawserHost, log: str) -> None:
    """Empties a log, so that told() has what follows; the program appends, so it goes on at the new end."""
    os.truncate(vm.host.log_dir / log, 0)
