# SPDX-License-Identifier: Apache-2.0
"""Waiting with an end: ask until it is so, or say what was last seen."""

from __future__ import annotations

import time
import typing

T = typing.TypeVar("T")
NOT_YET = (AssertionError, LookupError, OSError, RuntimeError, StopIteration)


class Hopeless(Exception):
    """Raised by `ask` when waiting any longer makes no sense."""


def until(what: str, ask: typing.Callable[[], T], timeout: float = 10, every: float = 0.02) -> T:
    """The first true answer of `ask`. These errors of it count as "not yet", such as a part of a status that isn't there."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            last: object = ask()
            if last:
                return typing.cast(T, last)
        except NOT_YET as error:
            last = f"{type(error).__name__}: {error}"
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s (last seen: {last})")
        time.sleep(every)
