# SPDX-License-Identifier: Apache-2.0
"""The scene of demo, e2e and interop: hosts `mesh`, `vm` and `outside`, a plane, reviews, and programs that know of none."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import typing

from lab import facts, layout, services
from lab.hawser import HawserHost, Snapshot
from lab.host import Host
from lab.network import Lab
from lab.plane import Plane

PROGRAMS = ("hawserd", "hawser-broker", "hawser")
SSH_PORT = 22


class World:
    """Use as a context manager. After entering, the VM is ready to join and everything else is there."""

    lab: Lab
    mesh: Host
    host: Host  # the virtual machine
    outside: Host
    vm_app: subprocess.Popen  # the VM's ordinary HTTP server
    vm: HawserHost  # Hawser on `host`
    reviews: services.Reviews
    before: Snapshot  # of the VM, not joined

    def __init__(
        self, plane: Plane, *, logs: pathlib.Path, say: typing.Callable[[str], None] = lambda text: None
    ) -> None:
        """`logs` is where keep_logs(), and a build that fails, leave the logs of all programs."""
        self.plane = plane
        self._logs = logs
        self._say = say
        self._stack = contextlib.ExitStack()
        self.ssh_probes: list[services.Load] = []

    def __enter__(self) -> World:
        try:
            self._build()
        except BaseException:
            self.keep_logs()
            self._stack.close()
            raise
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self._stack.close()

    def keep_logs(self) -> pathlib.Path:
        """Does nothing after the scene is gone."""
        if hasattr(self, "lab") and self.lab.log_dir.exists():
            self.lab.keep_logs(self._logs)
        return self._logs

    def _build(self) -> None:
        for program in PROGRAMS:
            if not os.access(layout.bin_dir() / program, os.X_OK):
                raise RuntimeError(f"{program} isn't built: run ./dev build (looked in {layout.bin_dir()})")
        self.lab = self._stack.enter_context(Lab())
        self._say("hosts mesh, vm and outside")
        self.mesh = self.lab.add_host("mesh", facts.MESH_IP, facts.MESH_IP6)
        self.host = self.lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        self.outside = self.lab.add_host("outside", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        self._say(f"control plane ({self.plane.name})")
        self._stack.callback(self.plane.close)
        self.plane.start(self.mesh)
        self._say("reviews behind its own Envoy")
        self.reviews = services.Reviews(self.mesh, self.plane.issue)
        self._say("the VM's ordinary programs")
        self.vm_app = services.start_vm_app(self.host)
        self.host.add_name(facts.REVIEWS_VIP, facts.REVIEWS_HOST)
        for host in (self.host, self.outside):
            services.start_banner_server(host, SSH_PORT)
        self._say("hawser-broker and hawserd, not joined")
        self.vm = HawserHost(self.host)
        self.vm.start()
        self.vm.install_envoy()
        self._start_ssh_probes()
        self.bundle = self.lab.directory / "bundle"
        self.bundle.mkdir(mode=0o700)
        self.plane.write_bundle(self.bundle)
        self.before = self.vm.snapshot()

    def _start_ssh_probes(self) -> None:
        """From before the join until after the leave, in both directions and families."""
        for name, host, addresses in (
            ("ssh-in", self.outside, (facts.VM_IP, f"[{facts.VM_IP6}]")),
            ("ssh-out", self.host, (facts.OUTSIDE_IP, f"[{facts.OUTSIDE_IP6}]")),
        ):
            targets = [f"banner://{address}:{SSH_PORT}" for address in addresses]
            self.ssh_probes.append(services.Load(host, name, *targets, rate=20))

    def traffic(self) -> Traffic:
        return Traffic(self)


class Traffic:
    """Requests in both directions at once: VM to reviews; reviews to VM, over kept and over new mTLS connections."""

    def __init__(self, world: World) -> None:
        reviews = world.reviews
        self.loads = {
            "VM to reviews": services.Load(world.host, "out", f"http://{facts.REVIEWS_HOST}/load"),
            "reviews to VM": services.Load(
                world.mesh, "in", reviews.url(reviews.POOLED, "/load"), reviews.url(reviews.FRESH, "/load")
            ),
        }

    def more(self, count: int) -> None:
        for load in self.loads.values():
            load.more(count)

    def finish(self) -> dict[str, services.LoadReport]:
        """Ends the load; asserts that no request failed."""
        reports = {name: load.stop() for name, load in self.loads.items()}
        for name, report in reports.items():
            assert report.sent > 0, f"{name}: nothing was sent"
            assert report.failed == 0, f"{name}: {report.describe_failures()}"
        return reports

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        for load in self.loads.values():
            load.stop()
