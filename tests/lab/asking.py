# SPDX-License-Identifier: Apache-2.0
"""What an ordinary program gets that asks all the time, whatever happens: programs/asker.py in a host."""

from __future__ import annotations

import dataclasses
import json
import time
import typing

from lab import poll, services
from lab.host import Host


@dataclasses.dataclass(frozen=True)
class Asked:
    at: float  # the wall clock's, as `until`
    until: float
    got: str


class Asking:
    """Use as a context manager."""

    def __init__(self, host: Host, name: str, url: str) -> None:
        self._host, self._log = host, host.log_dir / f"asker-{name}.log"
        self._log.unlink(missing_ok=True)
        self._process = host.popen(services.program("asker", url), log=self._log.name, **services.AS_APP)
        poll.until(f"{name} asks", self.all)

    def all(self, since: float = 0) -> list[Asked]:
        """Those that began since then."""
        lines = [line for line in self._log.read_text().splitlines() if line.endswith("}")]
        asked = [Asked(**json.loads(line)) for line in lines]
        return [each for each in asked if each.at >= since]

    def within(self, begin: float, end: float) -> list[Asked]:
        return [each for each in self.all(begin) if each.until <= end]

    def wait_for(self, got: str, timeout: float, times: int = 1) -> Asked:
        """The first of the last `times`, which all got that; of those that begin from now on."""
        since = time.time()

        def last() -> Asked | None:
            asked = self.all(since)[-times:]
            return asked[0] if len(asked) == times and all(each.got == got for each in asked) else None

        return typing.cast(Asked, poll.until(f"{times} times: {got}", last, timeout, every=0.1))

    def close(self) -> None:
        """May be called twice."""
        self._host.stop(self._process)

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self.close()
