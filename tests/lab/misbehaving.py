# SPDX-License-Identifier: Apache-2.0
"""A joined host with steady traffic, whose control plane (devmesh) misbehaves for a while: what is promised meanwhile."""

from __future__ import annotations

import contextlib
import typing

from lab import facts, poll, services, standing
from lab.world import World

CPU = 0.25  # of a core, while the fault lasts; 1 for one that spins
MEMORY_KIB = 16 * 1024  # over idle
LIMIT_MIB = 4  # control_plane.max_response_mib


class Scene:
    """The joined host, its steady traffic, and hawserd when it's idle."""

    def __init__(self, world: World, traffic: standing.SteadyTraffic) -> None:
        self.world, self.traffic, self.plane, self.vm = world, traffic, world.plane, world.vm
        self.proxy = self.status()["proxy"]["pid"]
        self._take_measure()

    def _take_measure(self) -> None:
        self.agent = self.vm.agent.pid
        self.idle_kib = standing.memory_kib(self.agent)

    def fresh(self) -> None:
        """hawserd anew: its pauses between attempts begin at their shortest, as for a host that was well for long."""
        self.vm.restart_agent()
        self.until_ok()
        self._take_measure()

    def status(self) -> dict[str, typing.Any]:
        return self.vm.status()

    def item(self, name: str = "control-plane") -> dict[str, typing.Any]:
        return next((i for i in self.status()["items"] if i["name"] == name), {})

    def told(self, error: str, name: str = "control-plane", timeout: float = 10) -> dict[str, typing.Any]:
        """The item, once it has the error."""
        got = self.degraded(name, timeout, error)
        assert got["id"] == error, got
        return got

    def degraded(self, name: str = "control-plane", timeout: float = 10, error: str = "") -> dict[str, typing.Any]:
        """The item, once it's degraded (by that error, if one is named)."""

        def now() -> dict[str, typing.Any] | None:
            item = self.item(name)
            return item if item.get("state") == "degraded" and error in item.get("id", "") else None

        return poll.until(f"{name} is degraded {error}", now, timeout, every=0.1)

    def until_ok(self, timeout: float = 30) -> None:
        poll.until("hawser status is ok", lambda: self.status()["state"] == "ok", timeout, every=0.1)

    def streams(self) -> int:
        return self.status()["control_plane"]["streams_opened"]

    def ratings(self) -> int:
        return services.curl(self.world.mesh, self.world.reviews.url(self.world.reviews.RATINGS)).status

    def allow(self, accounts: list[str] | None) -> None:
        """A change in the plane, waited for at the host: ratings may call it, or not."""
        self.plane.allow_callers(accounts)
        wanted = 403 if accounts else 200
        poll.until(f"the change arrives: ratings gets {wanted}", lambda: self.ratings() == wanted, 15, every=0.05)

    def follows(self) -> None:
        self.allow([facts.REVIEWS_SA])
        self.allow(None)

    @contextlib.contextmanager
    def misbehaving(self, seconds: float = 2, memory_kib: int = MEMORY_KIB, **changes: typing.Any) -> typing.Iterator[None]:
        """The fault, for so long at least; then good behaviour, and all that the module's text promises."""
        with self.traffic.unharmed():
            try:
                with standing.cost(self.agent, seconds) as spent:
                    self.plane.faults(**changes)
                    yield
            finally:
                self.plane.reset_faults()
            self.until_ok()
            self.follows()
        assert self.status()["proxy"]["pid"] == self.proxy
        more = f"{self.idle_kib}{spent.peak_kib - self.idle_kib:+} KiB"
        print(f"\n  {spent.cpu:.2f} s of processor in {spent.seconds:.1f} s, peak {more}")
        assert spent.share <= CPU, spent
        assert spent.peak_kib <= self.idle_kib + memory_kib, spent


@contextlib.contextmanager
def joined(world: World) -> typing.Iterator[Scene]:
    world.vm.join(world.bundle, f"control_plane.max_response_mib={LIMIT_MIB}")
    world.vm.wait("REGISTERED")
    poll.until("hawser status is ok", lambda: world.vm.status()["state"] == "ok", 30)
    reviews = world.reviews.url(world.reviews.POOLED)
    poll.until("reviews reaches the VM", lambda: services.curl(world.mesh, reviews).status == 200, 15)
    with standing.SteadyTraffic(world) as traffic:
        yield Scene(world, traffic)
    for probe in world.ssh_probes:
        report = probe.report()
        assert report.failed == 0, report.describe_failures()
    world.vm.leave()
