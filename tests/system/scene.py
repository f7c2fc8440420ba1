# SPDX-License-Identifier: Apache-2.0
"""lab.world.World with a booted Debian as its VM: package, units, sshd and the VM's service are as in real life."""

from __future__ import annotations

import json
import pathlib
import subprocess
import typing

from lab import facts, layout, poll, services
from lab.network import Lab
from lab.world import SSH_PORT, World
from system import hawser, image
from system.hawser import SystemHawser
from system.machine import LOGS, Machine

APP_UNIT = "vm-app.service"


def add_machine(lab: Lab, deb: pathlib.Path | None = None) -> Machine:
    """A booted machine of the scene's name and addresses, without Hawser."""
    machine = Machine(lab, "vm", image.root_for(deb or hawser.package()), facts.VM_IP, facts.VM_IP6)
    machine.boot()
    return machine


def install_app(machine: Machine) -> None:
    """The VM's unmodified HTTP server, as a unit: it comes back after a boot."""
    command = " ".join(services.program("http_app", "vm-app", f"0.0.0.0:{facts.VM_PORT}", f"[::]:{facts.VM_PORT}"))
    lines = ["[Unit]", "Description=an ordinary program", "[Service]", f"ExecStart={command}", "User=nobody"]
    lines += [f"StandardOutput=append:{LOGS}/vm-app.log", "StandardError=inherit"]
    lines += ["[Install]", "WantedBy=multi-user.target"]
    machine.write(f"/etc/systemd/system/{APP_UNIT}", "\n".join(lines) + "\n")
    machine.systemctl("enable", "--now", "--quiet", APP_UNIT)
    poll.until("vm-app listens", lambda: machine.tcp("127.0.0.1", facts.VM_PORT))


class SystemWorld(World):
    host: Machine
    vm: SystemHawser

    @property
    def machine(self) -> Machine:
        return self.host

    def _check_programs(self) -> None:
        self.deb = hawser.package()

    def _add_vm(self) -> Machine:
        return add_machine(self.lab, self.deb)

    def _start_vm_programs(self) -> None:
        install_app(self.host)
        self._let_ssh_in()
        services.start_banner_server(self.outside, hawser.CAPTURED_PORT)

    def _start_hawser(self) -> SystemHawser:
        self.plain = hawser.look(self.host)  # before the package
        self.host.install(self.deb)
        vm = SystemHawser(self.host)
        vm.start()
        return vm

    def _ssh_targets(self) -> list[str]:
        return [f"ssh://{address}:{SSH_PORT}" for address in (facts.VM_IP, f"[{facts.VM_IP6}]")]

    def _let_ssh_in(self) -> None:
        self._key = self.lab.directory / "ssh-key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._key], check=True, timeout=20)
        public = self._key.with_suffix(".pub").read_text()
        self.host.mkdir("/root/.ssh", 0o700)
        self.host.write("/root/.ssh/authorized_keys", public, mode=0o600)

    def ssh(self, command: str) -> str:
        """Logs in from outside, as an operator does."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=5"]
        words = [word for option in options for word in ("-o", option)]
        argv = ["ssh", "-F", "none", "-i", str(self._key), *words, f"root@{facts.VM_IP}", command]
        return self.outside.run(argv, timeout=20).stdout.strip()

    def assert_ssh_is_direct(self) -> None:
        client = self.ssh("echo $SSH_CONNECTION").split()
        assert client and client[0] == facts.OUTSIDE_IP, f"sshd saw {client} as its client"

    def keep_logs(self) -> pathlib.Path:
        if hasattr(self, "host") and isinstance(self.host, Machine):
            self.host.keep_state()
        return super().keep_logs()


class Captured:
    """Connections to CAPTURED_PORT outside, one after the other, by an ordinary uid, in both families."""

    def __init__(self, world: SystemWorld) -> None:
        script = layout.in_host(layout.REPO / "tests" / "system" / "programs" / "captured.py")
        argv = [layout.PYTHON, "-I", script, facts.OUTSIDE_IP, facts.OUTSIDE_IP6, str(hawser.CAPTURED_PORT)]
        self._host = world.host
        self._process = world.host.popen(argv, stdout=subprocess.PIPE, text=True, **services.AS_APP)
        assert self._process.stdout.readline() == "started\n"

    def finish(self) -> dict[str, typing.Any]:
        self._process.terminate()
        out, _ = self._process.communicate(timeout=20)
        return json.loads(out)

    def __enter__(self) -> Captured:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self._host.stop(self._process)


def in_mesh(world: SystemWorld) -> bool:
    """Both directions by mTLS, now."""
    out = services.curl(world.host, f"http://{facts.REVIEWS_HOST}/in-mesh")
    assert out.status == 200, f"VM to reviews: {out.status} {out.error}"
    assert services.caller_id(out) == facts.spiffe(facts.VM_SA), out.body
    into = services.curl(world.mesh, world.reviews.url(world.reviews.FRESH, "/in-mesh"))
    assert into.status == 200, f"reviews to VM: {into.status} {into.error}"
    assert services.caller_id(into) == facts.spiffe(facts.REVIEWS_SA), into.body
    plain = services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/plaintext")
    assert plain.status == 0, f"plaintext got in: {plain.status}"
    return True
