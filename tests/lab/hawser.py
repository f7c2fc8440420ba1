# SPDX-License-Identifier: Apache-2.0
"""Hawser on a host of the lab: laid out and started as packages and systemd do it elsewhere."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import pathlib
import socket
import subprocess
import typing

from lab import facts, layout, poll, services
from lab.host import Host

AGENT, PROXY = facts.UID_AGENT, facts.UID_PROXY

# path, mode, uid, gid: what tmpfiles.d makes
FOLDERS = (
    ("/run/hawser", 0o3775, 0, AGENT),
    ("/run/hawser/proxy", 0o2750, PROXY, AGENT),
    ("/var/lib/hawser", 0o755, 0, 0),
    ("/var/lib/hawser/identity", 0o700, AGENT, AGENT),
    ("/var/lib/hawser/supervisor", 0o700, AGENT, AGENT),
    ("/var/lib/hawser/xds", 0o700, AGENT, AGENT),
    ("/var/lib/hawser/netfilter", 0o700, 0, 0),
    ("/var/lib/hawser/proxy", 0o755, 0, 0),
    ("/var/lib/hawser/proxy/bin", 0o755, 0, 0),
    ("/var/lib/hawser/proxy/boot", 0o2750, 0, PROXY),
    ("/var/lib/hawser/proxy/run", 0o755, 0, 0),
    ("/etc/hawser", 0o755, 0, 0),
    ("/etc/hawser/conf.d", 0o755, 0, 0),
)
CONFIG = f"users: {{agent: {AGENT}, proxy: {PROXY}, admin_group: {facts.GID_ADMIN}}}\n"
# One host is no fleet: its tests need not wait out a spread; and a control plane of the lab tells callers at once, so
# that a leave needn't wait for as long as elsewhere.
LAB_CONFIG = "control_plane: {reconnect_spread: 300ms}\nworkload: {withdraw_wait: 300ms}\n"
# setuid, setgid and kill stand in for systemd: the direct launcher starts and signals Envoy itself
BROKER_CAPS = ("net_admin", "net_raw", "setuid", "setgid", "kill")

Snapshot = dict[str, list[str]]


class HawserHost:
    """The host, and the three programs in it."""

    def __init__(self, host: Host, config: str = CONFIG) -> None:
        self.host = host
        self.agent: subprocess.Popen | None = None
        self.broker: subprocess.Popen | None = None
        self.broker_options: tuple[str, ...] = ()
        for path, mode, uid, gid in FOLDERS:
            host.mkdir(path, mode, uid, gid)
        host.write("/etc/hawser/hawser.yaml", config)
        host.write("/etc/hawser/conf.d/10-lab.yaml", LAB_CONFIG)

    # -- programs ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Broker and hawserd, not joined yet."""
        self.start_broker()
        self.start_agent()

    def spawn_broker(
        self, *more: str, env: dict[str, str] | None = None, before: typing.Sequence[str] = (), **popen: typing.Any
    ) -> None:
        """Only exec. `before` is a command that runs the program, such as prlimit; so for the agent."""
        popen.setdefault("caps", BROKER_CAPS)
        options = ["--agent-user", str(AGENT), "--proxy-user", str(PROXY), "--launcher", "direct"]
        options += self.broker_options
        self.broker = self.host.popen(
            [*before, f"{layout.BIN_IN_HOST}/hawser-broker", *options, *more],
            env=env,
            log="hawser-broker.log",
            **popen,
        )

    def start_broker(self, *more: str, **how: typing.Any) -> None:
        self.spawn_broker(*more, **how)
        self._wait_for_socket(self.broker, "broker.sock", "hawser-broker.log")

    def spawn_agent(
        self, *, env: dict[str, str] | None = None, before: typing.Sequence[str] = (), **popen: typing.Any
    ) -> None:
        """Only exec: nothing is waited for."""
        argv = [*before, f"{layout.BIN_IN_HOST}/hawserd"]
        popen.setdefault("log", "hawserd.log")
        self.agent = self.host.popen(argv, uid=AGENT, gid=AGENT, caps=(), no_new_privs=True, env=env, **popen)

    def start_agent(
        self, *, env: dict[str, str] | None = None, before: typing.Sequence[str] = (), **popen: typing.Any
    ) -> None:
        self.spawn_agent(env=env, before=before, **popen)
        self._wait_for_socket(self.agent, "admin.sock", "hawserd.log")

    def _wait_for_socket(self, process: subprocess.Popen, name: str, log: str) -> None:
        def ready() -> bool:
            if process.poll() is None:
                return self.host.call(_accepts, f"/run/hawser/{name}")
            tail = (self.host.log_dir / log).read_text(errors="replace").strip().splitlines()[-1:]
            raise poll.Hopeless(f"{log.removesuffix('.log')} ended with {process.returncode}: {' '.join(tail)}")

        poll.until(f"{name} accepts connections", ready)

    def stop_agent(self, timeout: float = 15) -> int:
        """SIGTERM, as `systemctl stop` sends it."""
        return self.host.stop(self.agent, timeout=timeout) if self.agent else 0

    def restart_agent(self) -> None:
        self.stop_agent()
        self.start_agent()

    def kill_agent(self) -> None:
        """kill -9: a crash. Envoy has to go on."""
        self.agent.kill()
        self.agent.wait(5)

    def stop(self) -> None:
        self.stop_agent()
        if self.broker:
            self.host.stop(self.broker)

    # -- the command line --------------------------------------------------------------------------------------

    def cli(self, *arguments: str | os.PathLike, check: bool = True, timeout: float = 60, **popen: typing.Any):
        """`hawser …` as root; a CompletedProcess."""
        return self.host.run([f"{layout.BIN_IN_HOST}/hawser", *arguments], check=check, timeout=timeout, **popen)

    def install_envoy(self) -> None:
        self.cli("proxy", "install", services.envoy_binary())

    def join(self, bundle: pathlib.Path, *settings: str, check: bool = True) -> subprocess.CompletedProcess:
        """`settings` are KEY=VALUE of the configuration. Returns when hawserd has accepted the bundle."""
        options = [word for setting in settings for word in ("--set", setting)]
        return self.cli("join", bundle, *options, check=check)

    def wait(self, event: str = "REGISTERED", timeout: float = 60) -> None:
        done = self.cli("wait", "--for", event, "--timeout", f"{timeout:g}s", check=False, timeout=timeout + 10)
        assert done.returncode == 0, (
            f"{event} wasn't reached (exit {done.returncode}): {(done.stderr or done.stdout).strip()}\n"
            + self.cli("status", check=False).stdout
        )

    def status(self) -> dict[str, typing.Any]:
        done = self.cli("status", "--json", check=False)  # its exit status tells the health, too
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise AssertionError(f"hawser status --json: {done.stderr.strip() or done.stdout!r}") from None

    def item(self, name: str) -> dict[str, typing.Any]:
        """Of the status; StopIteration while there is none."""
        return next(item for item in self.status()["items"] if item["name"] == name)

    def cert(self) -> dict[str, typing.Any]:
        return json.loads(self.cli("cert", "show", "--json").stdout)

    def renew(self) -> None:
        self.cli("cert", "renew")

    def intercept(self) -> str:
        return self.cli("intercept", "show").stdout

    def leave(self) -> None:
        self.cli("leave")

    # -- what is there -----------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Everything that `leave` has to restore, with the lab's own files left out."""
        return json.loads(self.host.run(services.program("snapshot", layout.LAB_DIR)).stdout)


def difference(before: Snapshot, after: Snapshot) -> str:
    """Empty if equal; else the lines that came (+) and went (-), by section."""
    lines = []
    for section in before:
        delta = difflib.unified_diff(before[section], after[section], n=0, lineterm="")
        changed = [line for line in delta if not line.startswith(("---", "+++", "@@"))]
        lines += [f"{section}:", *(f"  {line}" for line in changed)] if changed else []
    return "\n".join(lines)


def _accepts(path: str) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        client.settimeout(1)
        client.connect(path)
    return True
