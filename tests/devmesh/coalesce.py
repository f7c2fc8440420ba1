# SPDX-License-Identifier: Apache-2.0
"""Work that many changes ask for is done at once for the first, and then once for all that came meanwhile."""

from __future__ import annotations

import asyncio
import typing


class Coalesced:
    """`work` runs in the loop that calls ask(); `pause()` says in seconds how long to wait after it."""

    def __init__(self, work: typing.Callable[[], None], pause: typing.Callable[[], float]):
        self._work, self._pause = work, pause
        self._resting: asyncio.TimerHandle | None = None
        self._due = False

    def ask(self) -> None:
        if self._resting:
            self._due = True
        else:
            self._run()

    def stop(self) -> None:
        """What is due is done, and nothing later."""
        if self._resting:
            self._resting.cancel()
            self._resting = None
        if self._due:
            self._due = False
            self._work()

    def _run(self) -> None:
        self._due = False
        self._work()
        self._resting = asyncio.get_running_loop().call_later(self._pause(), self._rested)

    def _rested(self) -> None:
        self._resting = None
        if self._due:
            self._run()
