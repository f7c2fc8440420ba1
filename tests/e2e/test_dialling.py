# SPDX-License-Identifier: Apache-2.0
"""How a host reaches its control plane: two planes of one mesh with priorities, a host without IPv4, an HTTP proxy.

The second plane is a process of its own on a host of its own, with the first one's CA. Each test joins and leaves.
"""

from __future__ import annotations

import pathlib
import shutil
import time
import typing

import pytest

from devmesh.plane import DevmeshPlane
from lab import facts, poll, services, steps
from lab.joined import joined

SECOND_IP, SECOND_IP6 = "10.77.0.11", "fd77::11"
PROXY_PORT = 3128
DROP_IN = "/etc/hawser/conf.d/60-dial.yaml"
CREDENTIALS = "/etc/hawser/proxy-credentials"


@pytest.fixture(scope="module")
def second(world):
    """Another control plane of the same mesh."""

    def edit(data: dict[str, typing.Any]) -> None:
        data["plane_address"] = SECOND_IP
        data["listen"]["grpc"] = [f"{SECOND_IP}:{facts.PLANE_PORT}", f"[{SECOND_IP6}]:{facts.PLANE_PORT}"]

    plane = DevmeshPlane(edit=edit)
    state = plane.config_file.parent / "state"
    state.mkdir(mode=0o700)
    for file in (world.plane.config_file.parent / "state").glob("*.pem"):
        shutil.copy(file, state)
    host = world.lab.add_host("second", SECOND_IP, SECOND_IP6)
    plane.start(host)
    yield plane
    plane.close()


def plane_status(world) -> dict[str, typing.Any]:
    return world.vm.status()["control_plane"]


def item(world, name: str) -> dict[str, typing.Any]:
    return next((i for i in world.vm.status()["items"] if i["name"] == name), {})


def until_priority(world, priority: int, timeout: float) -> dict[str, typing.Any]:
    def there() -> dict[str, typing.Any] | None:
        status = plane_status(world)
        return status if status["connected"] and status["priority"] == priority else None

    return poll.until(f"connected at priority {priority}", there, timeout, every=0.1)


def ratings(world) -> int:
    return services.curl(world.mesh, world.reviews.url(world.reviews.RATINGS)).status


def test_fail_over_and_fail_back_without_a_failed_request(world, second):
    """The first plane dies and comes back. Requests pass all the time; Envoy's stream never ends."""
    settings = f"""\
  addresses:
    - {facts.MESH_IP}:{facts.PLANE_PORT}
    - {{address: "{SECOND_IP}:{facts.PLANE_PORT}", priority: 1}}
  tls_name: {facts.PLANE_NAME}
  fail_back: 6s
"""
    with joined(world, DROP_IN, f"control_plane:\n{settings}"):
        assert plane_status(world)["priority"] == 0
        poll.until("reviews gets an answer of the VM", lambda: ratings(world) == 200, steps.PUSH_TIMEOUT)
        pid = world.vm.status()["proxy"]["pid"]
        with world.traffic() as traffic:
            traffic.more(10)
            world.plane.stop()
            begin = time.monotonic()
            status = until_priority(world, 1, 20)
            over_after = time.monotonic() - begin
            assert SECOND_IP in status["address"], status
            second.allow_callers([facts.REVIEWS_SA])
            poll.until("the second plane's word counts", lambda: ratings(world) == 403, steps.PUSH_TIMEOUT)
            second.allow_callers(None)
            poll.until("and the next", lambda: ratings(world) == 200, steps.PUSH_TIMEOUT)
            serial = world.vm.cert()["serial"]
            world.vm.renew()
            assert world.vm.cert()["serial"] != serial, "the CA is reached at the second address too"

            begin = time.monotonic()
            world.plane.start(world.mesh)
            since, moves = plane_status(world)["since"], plane_status(world)["moves"]
            status = until_priority(world, 0, 20)
            back_after = time.monotonic() - begin
            assert back_after >= 4, "it isn't gone back to before it has been well for a while"
            assert status["moves"] == moves + 1
            assert status["since"] == since, "the stream moved while it was connected all the time"
            traffic.more(10)
            traffic.finish()
        assert world.vm.status()["proxy"]["pid"] == pid
        log = (world.host.log_dir / "hawserd.log").read_text(errors="replace")
        assert "a proxy's configuration stream ended" not in log.split("going over to other addresses")[1]
        print(f"fail-over {over_after:.1f} s, fail-back {back_after:.1f} s after the start")


def test_a_host_without_ipv4(world, second):
    """Its one network has IPv6 alone. Plane and CA by address, and by a name that has both families."""
    world.host.run(["ip", "-4", "address", "flush", "dev", "eth0"])
    hosts = world.host.read("/etc/hosts")
    try:
        world.host.add_name(facts.MESH_IP, "plane.example")
        world.host.add_name(facts.MESH_IP6, "plane.example")
        for address in (f'"[{facts.MESH_IP6}]:{facts.PLANE_PORT}"', f"plane.example:{facts.PLANE_PORT}"):
            dialled = f"control_plane: {{addresses: [{address}], tls_name: {facts.PLANE_NAME}}}\n"
            with joined(world, DROP_IN, dialled):
                status = plane_status(world)
                assert facts.MESH_IP6 in status["dialled"], status
                row = next(w for w in world.plane.workloads() if w.connected)
                assert row.address == facts.VM_IP6, row
    finally:
        world.host.write("/etc/hosts", hosts)
        restore = f"address add {facts.VM_IP}/{facts.PREFIX} dev eth0\nroute add default via 10.77.0.1\n"
        world.host.run(["ip", "-batch", "-"], input=restore)


# -- an HTTP proxy ----------------------------------------------------------------------------------------------------


class HttpProxy:
    """tinyproxy on `outside`, the one way to the plane: what comes from the VM itself is dropped there."""

    def __init__(self, world) -> None:
        self.world = world
        self.process = None

    def start(self, connect_port: int = facts.PLANE_PORT) -> None:
        self.stop()
        self.world.outside.write(
            "/run/lab/tinyproxy.conf",
            f"Port {PROXY_PORT}\nListen {facts.OUTSIDE_IP}\nTimeout 600\nLogLevel Connect\nMaxClients 20\n"
            f"BasicAuth hawser moored\nConnectPort {connect_port}\n",
        )
        self.process = self.world.outside.popen(["tinyproxy", "-d", "-c", "/run/lab/tinyproxy.conf"], log="tinyproxy.log")
        address = (facts.OUTSIDE_IP, PROXY_PORT)
        poll.until("the HTTP proxy listens", lambda: self.world.outside.tcp(*address), 5, every=0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.world.outside.stop(self.process)
            self.process = None

    def asked(self) -> int:
        log = (self.world.outside.log_dir / "tinyproxy.log").read_text(errors="replace")
        return log.count(f"CONNECT {facts.PLANE_NAME}:{facts.PLANE_PORT}")


@pytest.fixture
def http_proxy(world):
    proxy = HttpProxy(world)
    world.outside.add_name(facts.MESH_IP, facts.PLANE_NAME)
    table = "add table inet direct; add chain inet direct in { type filter hook input priority 0; };"
    for family, address in (("ip", facts.VM_IP), ("ip6", facts.VM_IP6)):
        table += f" add rule inet direct in {family} saddr {address} tcp dport {facts.PLANE_PORT} drop;"
    world.mesh.run(["nft", table])
    yield proxy
    world.mesh.run(["nft", "delete", "table", "inet", "direct"])
    proxy.stop()


def told(world, name: str, wanted: str) -> dict[str, typing.Any]:
    return poll.until(
        f"{wanted} is told", lambda: item(world, name).get("id") == wanted and item(world, name), 20, every=0.2
    )


def test_join_certificate_and_stream_through_an_http_proxy(world, http_proxy):
    """The plane's name is unknown to the host: only the proxy knows it. What the proxy refuses is explained."""
    world.host.write(CREDENTIALS, "hawser:moored\n", 0o640, 0, facts.GID_AGENT)
    settings = f"""\
  addresses: ["{facts.PLANE_NAME}:{facts.PLANE_PORT}"]
  http_proxy: http://{facts.OUTSIDE_IP}:{PROXY_PORT}
  http_proxy_credentials: {CREDENTIALS}
  no_proxy: [.elsewhere.example]
"""
    http_proxy.start()
    with joined(world, DROP_IN, f"control_plane:\n{settings}"):
        assert http_proxy.asked() >= 2, "the CA's and the stream's"
        status = plane_status(world)
        assert f"by way of {facts.OUTSIDE_IP}:{PROXY_PORT}" in status["dialled"], status
        assert facts.OUTSIDE_IP in world.vm.intercept(), "the HTTP proxy is never captured"
        before = http_proxy.asked()
        world.vm.renew()
        assert http_proxy.asked() > before
        assert "moored" not in world.vm.cli("status", "--json").stdout

        http_proxy.start(connect_port=443)
        assert "doesn't allow CONNECT" in told(world, "control-plane", "HWS-DL-006")["detail"]
        http_proxy.stop()
        told(world, "control-plane", "HWS-DL-004")
        refused = world.vm.cli("cert", "renew", check=False)
        assert refused.returncode != 0 and "HWS-DL-004" in refused.stderr, refused.stderr
        http_proxy.start()
        poll.until("connected again", lambda: plane_status(world)["connected"], 40, every=0.2)

        world.host.write(CREDENTIALS, "hawser:wrong\n", 0o640, 0, facts.GID_AGENT)
        world.vm.restart_agent()
        told(world, "control-plane", "HWS-DL-005")
        refused = world.vm.cli("cert", "renew", check=False)
        assert refused.returncode != 0 and "HWS-DL-005" in refused.stderr, refused.stderr
        world.host.call(lambda: pathlib.Path(CREDENTIALS).chmod(0o644))
        world.vm.restart_agent()
        assert CREDENTIALS in told(world, "host", "HWS-DL-007")["detail"]
        world.host.write(CREDENTIALS, "hawser:moored\n", 0o640, 0, facts.GID_AGENT)
        poll.until("connected with the right one", lambda: world.vm.status().get("control_plane", {}).get("connected"), 40)
