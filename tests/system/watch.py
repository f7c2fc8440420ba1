# SPDX-License-Identifier: Apache-2.0
"""What a host looks like from outside while it goes down and comes back."""

from __future__ import annotations

import threading
import time

from lab import facts


class Watch:
    """What the plane says of the host, and whether its proxy takes a caller's connection, looked at all the time."""

    def __init__(self, world) -> None:
        self._world, self._over = world, threading.Event()
        self.healthy: list[bool | None] = []
        self.messages: set[str] = set()
        self.unhealthy_at = self.refused_at = 0.0
        self._threads = [threading.Thread(target=self._table), threading.Thread(target=self._connect)]

    def _table(self) -> None:
        while not self._over.wait(0.03):
            rows = self._world.plane.get("/workloads")
            now = rows[0]["healthy"] if len(rows) == 1 else None
            self.messages |= {str(r.get("health_message")) for r in rows}
            if not self.healthy or self.healthy[-1] != now:
                self.healthy.append(now)
            if now is not True and not self.unhealthy_at:
                self.unhealthy_at = time.monotonic()

    def _connect(self) -> None:
        while not self._over.wait(0.05) and not self.refused_at:
            if not self._world.mesh.tcp(facts.VM_IP, facts.VM_PORT):
                self.refused_at = time.monotonic()

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)
