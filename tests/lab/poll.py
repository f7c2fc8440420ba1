# SPDX-License-Identifier: Apache-2.0
"""Waiting with an end: ask until it is so, or say what was last seen."""

from __future__ import annotations

import time
import typing

T = typing.TypeVar("T")


class Hopeless(Exception):
    """Raised by `ask` when waiting any longer makes no sense."""


def until(what: str, ask: typing.Callable[[], T], timeout: float = 10, every: float = 0.02) -> T:
    """The first true answer of `ask`. AssertionError, OSError and RuntimeError of `ask` count as "not yet"."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            last: object = ask()
            if last:
                return typing.cast(T, last)
        except (AssertionError, OSError, RuntimeError) as error:
            last = error
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s (last seen: {last})")
        time.sleep(every)
