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
        self._check_programs()
        self.lab = self._stack.enter_context(Lab())
        self._say("hosts mesh, vm and outside")
        self.mesh = self.lab.add_host("mesh", facts.MESH_IP, facts.MESH_IP6)
        self.host = self._add_vm()
        self.outside = self.lab.add_host("outside", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        self._say(f"control plane ({self.plane.name})")
        self._stack.callback(self.plane.close)
        self.plane.start(self.mesh)
        self._say("reviews behind its own Envoy")
        self.reviews = services.Reviews(self.mesh, self.plane.issue)
        self._say("the VM's ordinary programs")
        self.host.add_name(facts.REVIEWS_VIP, facts.REVIEWS_HOST)
        services.start_banner_server(self.outside, SSH_PORT)
        self._start_vm_programs()
        self._say("hawser-broker and hawserd, not joined")
        self.vm = self._start_hawser()
        self.vm.install_envoy()
        self._start_ssh_probes()
        self.bundle = self.lab.directory / "bundle"
        self.bundle.mkdir(mode=0o700)
        self.plane.write_bundle(self.bundle)
        self.before = self.vm.snapshot()

    # -- what differs where the VM isn't a namespace but a booted system (tests/system) ---------------------------

    def _check_programs(self) -> None:
        for program in PROGRAMS:
            if not os.access(layout.bin_dir() / program, os.X_OK):
                raise RuntimeError(f"{program} isn't built: run ./dev build (looked in {layout.bin_dir()})")

    def _add_vm(self) -> Host:
        return self.lab.add_host("vm", facts.VM_IP, facts.VM_IP6)

    def _start_vm_programs(self) -> None:
        self.vm_app = services.start_vm_app(self.host)
        services.start_banner_server(self.host, SSH_PORT)

    def _start_hawser(self) -> HawserHost:
        vm = HawserHost(self.host)
        vm.start()
        return vm

    def _ssh_targets(self) -> list[str]:
        """The VM's port 22, as somebody outside probes it."""
        return [f"banner://{address}:{SSH_PORT}" for address in (facts.VM_IP, f"[{facts.VM_IP6}]")]

    def _start_ssh_probes(self) -> None:
        """From before the join until after the leave, in both directions and families."""
        out = [f"banner://{address}:{SSH_PORT}" for address in (facts.OUTSIDE_IP, f"[{facts.OUTSIDE_IP6}]")]
        for name, host, targets in (("ssh-in", self.outside, self._ssh_targets()), ("ssh-out", self.host, out)):
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
