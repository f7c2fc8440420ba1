# SPDX-License-Identifier: Apache-2.0
"""The two agents under comparison, each on a host of its own, with one vocabulary."""

from __future__ import annotations

import os
import pathlib
import shlex
import signal
import socket
import subprocess
import time

import yaml

from bench import procfs
from interop import istiod
from lab import facts, layout, poll, services
from lab.hawser import HawserHost
from lab.host import Host

READY_PORT = 15021  # Envoy's listener that asks the agent: the same in both
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
STOCK_DIR = "/run/stock"
IDLE_PROXY = "bench-idle-proxy"  # the kernel keeps 15 letters of a name
_STOCK_FOLDERS = (
    *("etc/certs", "etc/istio/proxy", "etc/istio/config", "var/lib/istio"),
    *("var/run/secrets", "var/run/secrets/tokens"),  # it makes sockets beside its token
)
_LOOK_EVERY = 0.002


def wait_ready(host: Host) -> None:
    """Polls the readiness port from inside the host."""

    def once() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", READY_PORT), timeout=2) as connection:
                connection.sendall(b"GET /healthz/ready HTTP/1.1\r\nHost: ready\r\nConnection: close\r\n\r\n")
                return b" 200 " in connection.recv(256).split(b"\r\n")[0]
        except OSError:
            return False

    def loop() -> bool:
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
            if once():
                return True
            time.sleep(_LOOK_EVERY)
        return False

    if not host.call(loop):
        raise RuntimeError(f"{host.name}: not ready in {READY_TIMEOUT:g} s; see its log in {host.log_dir}")


class Stock:
    """Istio's own agent, laid out as its package and istio-start.sh do."""

    name = "stock"
    xds_socket = f"{STOCK_DIR}/etc/istio/proxy/XDS"

    def __init__(self, host: Host, bundle: pathlib.Path, address: str) -> None:
        self.host = host
        self._agent: subprocess.Popen | None = None
        self._environment = {
            **_read_environment((bundle / "cluster.env").read_text(encoding="utf-8")),
            "INSTANCE_IP": address,
            "POD_NAME": "stock",
            "POD_NAMESPACE": facts.NAMESPACE,
            "PROV_CERT": "./etc/certs",
            "OUTPUT_CERTS": "./etc/certs",
            "CA_ADDR": f"{facts.PLANE_NAME}:{facts.PLANE_PORT}",
        }
        self._mesh = yaml.safe_load((bundle / "mesh.yaml").read_text(encoding="utf-8"))
        for folder in _STOCK_FOLDERS:
            host.mkdir(f"{STOCK_DIR}/{folder}", 0o755, facts.UID_PROXY, facts.GID_PROXY)
        self._write("etc/certs/root-cert.pem", (bundle / "root-cert.pem").read_text(encoding="utf-8"))
        self._write("var/run/secrets/tokens/istio-token", (bundle / "istio-token").read_text(encoding="utf-8"))
        template = istiod.cache_dir() / "envoy_bootstrap.json"
        self._write("var/lib/istio/bootstrap.json", template.read_text(encoding="utf-8"))
        host.write("/etc/hosts", host.read("/etc/hosts") + (bundle / "hosts").read_text(encoding="utf-8"))
        self.use(services.envoy_binary())

    def _write(self, path: str, text: str) -> None:
        self.host.write(f"{STOCK_DIR}/{path}", text, 0o644, facts.UID_PROXY, facts.GID_PROXY)

    def use(self, envoy: str, plane: str | None = None) -> None:
        """The proxy to start from now on, and another control plane than the bundle's."""
        config = dict(self._mesh["defaultConfig"])
        config |= {"binaryPath": envoy, "proxyBootstrapTemplatePath": f"{STOCK_DIR}/var/lib/istio/bootstrap.json"}
        if plane is not None:
            config["discoveryAddress"] = plane
        self._write("etc/istio/config/mesh", yaml.safe_dump({**self._mesh, "defaultConfig": config}))

    def _program(self) -> str:
        return layout.in_host(istiod.cache_dir() / "bin" / "pilot-agent")

    def intercept(self) -> None:
        """Its rules, as `istio-start.sh` has them made."""
        uid, gid = str(facts.UID_PROXY), str(facts.GID_PROXY)
        argv = [self._program(), "istio-iptables", "-p", "15001", "-z", "15006", "-u", uid, "-g", gid, "-m", "REDIRECT"]
        argv += ["-i", "*", "-b", "*", "-d", "22,15090,15021,15020"]
        self.host.run(argv, env=self._environment, cwd=STOCK_DIR, timeout=30)

    def start(self, probing: bool = False) -> None:
        environment = self._environment if probing else {**self._environment, "CLOUD_PLATFORM": "none"}
        self._agent = self.host.popen(
            [self._program(), "proxy", "sidecar"],
            uid=facts.UID_PROXY,
            gid=facts.GID_PROXY,
            env=environment,
            cwd=STOCK_DIR,
            log="pilot-agent.log",
        )

    @property
    def pid(self) -> int:
        assert self._agent is not None
        return self._agent.pid

    def stop(self) -> float:
        """Seconds from SIGTERM to the end of the agent, and with it of its Envoy."""
        assert self._agent is not None
        begin = time.monotonic()
        self.host.stop(self._agent, timeout=STOP_TIMEOUT)
        took = time.monotonic() - begin
        _end_proxies(self.host)
        return took

    def restart(self) -> None:
        """As `systemctl restart` does: its Envoy ends with it."""
        self.stop()
        self.start()

    def clusters(self) -> int:
        answer = services.curl(self.host, "http://127.0.0.1:15000/stats?filter=cluster_manager.active_clusters")
        return int(answer.body.split(":")[1])


class Hawser:
    """hawserd and hawser-broker; the broker goes on through all measurements, as it does in life."""

    name = "hawser"
    xds_socket = "/run/hawser/xds.sock"

    def __init__(self, vm: HawserHost) -> None:
        self.vm = vm
        self.host = vm.host

    def start(self, probing: bool = False) -> None:
        self.vm.agent = self.host.popen(
            [f"{layout.BIN_IN_HOST}/hawserd"],
            uid=facts.UID_AGENT,
            gid=facts.GID_AGENT,
            caps=(),
            no_new_privs=True,
            log="hawserd.log",
        )

    @property
    def pid(self) -> int:
        assert self.vm.agent is not None
        return self.vm.agent.pid

    @property
    def broker_pid(self) -> int:
        assert self.vm.broker is not None
        return self.vm.broker.pid

    def stop(self) -> float:
        """Seconds from SIGTERM to hawserd's end. Envoy goes on."""
        assert self.vm.agent is not None
        begin = time.monotonic()
        self.host.stop(self.vm.agent, timeout=STOP_TIMEOUT)
        return time.monotonic() - begin

    def stop_all(self) -> None:
        """Envoy and the broker too: what a boot begins with."""
        if self.vm.agent is not None:
            self.stop()
        if self.vm.broker is not None:
            self.host.stop(self.vm.broker)
        _end_proxies(self.host)

    def restart(self) -> None:
        self.stop()
        self.start()

    def clusters(self) -> int:
        return int(sum(self._metric("hawser_xds_cache_resources", 'type="Cluster"')))

    def cached_mb(self) -> float:
        return sum(self._metric("hawser_xds_cache_bytes")) / 2**20

    def _metric(self, name: str, label: str = "") -> list[float]:
        text = services.curl(self.host, "http://127.0.0.1:15020/stats/prometheus").body
        lines = [line for line in text.splitlines() if line.startswith(name) and label in line]
        return [float(line.split()[-1]) for line in lines]


def _end_proxies(host: Host) -> None:
    """An Envoy that its agent left behind holds the ports that the next start needs."""
    pids = [pid for name in ("envoy", IDLE_PROXY[:15]) for pid in procfs.in_network_of(host.pid, name)]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    poll.until("the proxies have ended", lambda: not any(_runs(pid) for pid in pids))


def _runs(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def _read_environment(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: "".join(shlex.split(value)) for key, _, value in pairs}
