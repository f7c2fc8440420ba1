# SPDX-License-Identifier: Apache-2.0
"""What a host experiences when something around Hawser fails; docs/failures.md is this file as a table.

In each test, port 22 answers directly all the time (the fixture `ssh`), and where traffic has to go on it is counted.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing

import pytest

from lab import facts, handshake, poll, services, steps
from lab.faults import clocked, needs_clock, remounted, set_clock

STATE, IDENTITY = "/var/lib/hawser", "/var/lib/hawser/identity"
NOTICE = 20  # a silent control plane is noticed within
SLACK = 4  # of a busy machine


# -- what a host can tell ---------------------------------------------------------------------------------------------


def item(world, name: str) -> dict[str, typing.Any]:
    return next((i for i in world.vm.status()["items"] if i["name"] == name), {})


def is_ok(world) -> bool:
    return world.vm.status()["state"] == "ok"


def until_ok(world, timeout: float = 30) -> None:
    poll.until("hawser status is ok", lambda: is_ok(world), timeout, every=0.1)


def proxy_pid(world) -> int:
    return world.vm.status()["proxy"]["pid"]


def agent_log(world, since: int = 0) -> str:
    return (world.host.log_dir / "hawserd.log").read_text(errors="replace")[since:]


def csrs(world) -> int:
    """Requests for a certificate that the plane has seen."""
    return sum(v for v in world.plane.debug()["csr"].values() if isinstance(v, int))


def connected(world) -> bool:
    return world.vm.status()["control_plane"]["connected"]


@contextlib.contextmanager
def mesh_traffic(world) -> typing.Iterator[None]:
    """Both directions, before, during and after: nothing may fail."""
    with world.traffic() as traffic:
        traffic.more(5)
        yield
        traffic.more(5)
        traffic.finish()


@contextlib.contextmanager
def fresh_agent(world, **start: typing.Any) -> typing.Iterator[None]:
    """hawserd started in a special way, and an ordinary one afterwards."""
    world.vm.stop_agent()
    try:
        world.vm.start_agent(**start)
        yield
    finally:
        world.vm.stop_agent()
        world.vm.start_agent()
        until_ok(world)


@pytest.fixture(scope="module")
def mesh(world):
    """The host is in the mesh."""
    steps.join(world)
    yield world
    world.vm.leave()
    assert world.vm.status()["state"] == "not_joined"


@pytest.fixture(autouse=True)
def ssh(mesh):
    """Port 22 answers directly in both directions, whatever happens; and each test leaves a host that is well."""
    if mesh.vm.agent.poll() is not None:  # a test failed on its way
        mesh.vm.start_agent()
    until_ok(mesh)
    yield
    for probe in mesh.ssh_probes:
        probe.more(2)
        report = probe.report()
        assert report.failed == 0, report.describe_failures()
    until_ok(mesh)
    poll.until("requests pass", lambda: services.curl(mesh.host, f"http://{facts.REVIEWS_HOST}/", 2).status == 200, 20)


# -- the disk ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_state_that_cannot_be_written(mesh, fault):
    """Traffic goes on with the certificate in force; renewing says HWS-ID-005, and works with the disk well again."""
    old, pid = mesh.vm.cert()["serial"], proxy_pid(mesh)
    options, undo = ("full", "size=90%") if fault == "full" else ("ro", "rw")
    with mesh_traffic(mesh):
        with remounted(mesh.host, STATE, options, undo):
            refused = mesh.vm.cli("cert", "renew", check=False)
            assert refused.returncode != 0
            assert "HWS-ID-005" in refused.stderr, refused.stderr
            assert ("No space left" if fault == "full" else "Read-only file system") in refused.stderr
            identity = item(mesh, "identity")
            assert (identity["state"], identity["id"]) == ("degraded", "HWS-ID-005"), identity
            assert mesh.vm.cert()["serial"] == old
        mesh.vm.renew()
    until_ok(mesh)
    assert mesh.vm.cert()["serial"] != old
    assert proxy_pid(mesh) == pid


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_hawserd_starts_while_state_cannot_be_written(mesh, fault):
    """It takes the stored certificate and the running proxy."""
    pid = proxy_pid(mesh)
    with mesh_traffic(mesh):
        mesh.vm.kill_agent()
        with remounted(mesh.host, STATE, *(("full", "size=90%") if fault == "full" else ("ro", "rw"))):
            mesh.vm.start_agent()
            mesh.vm.wait("REGISTERED", timeout=20)
    assert proxy_pid(mesh) == pid


def test_run_that_cannot_be_written(mesh):
    """The running host doesn't notice; a hawserd that starts says why it can't, and the proxy carries on without it."""
    pid = proxy_pid(mesh)
    with mesh_traffic(mesh):
        mesh.host.mkdir("/run/hawser", 0o755, 0, 0)
        try:
            assert is_ok(mesh)
            mesh.vm.kill_agent()
            before = len(agent_log(mesh))
            with pytest.raises((AssertionError, poll.Hopeless)) as ended:
                mesh.vm.start_agent()
            assert "HWS-" in str(ended.value), ended.value
            assert "Permission denied" in agent_log(mesh, before)
        finally:
            mesh.host.mkdir("/run/hawser", 0o3775, 0, facts.GID_AGENT)
        mesh.vm.start_agent()
        mesh.vm.wait("REGISTERED", timeout=20)
    assert proxy_pid(mesh) == pid


# -- the clock --------------------------------------------------------------------------------------------------------


@needs_clock
def test_a_clock_that_jumps_forward_renews_once(mesh):
    """Past the certificate's end; the CA's clock jumped too, so that what it gives out is good."""
    set_clock(mesh.host, "+0")
    with mesh_traffic(mesh), fresh_agent(mesh, **clocked()):
        mesh.vm.wait("REGISTERED")
        old, asked = mesh.vm.cert()["serial"], csrs(mesh)
        mesh.plane.faults(csr_ttl=30 * 24 * 3600.0)
        set_clock(mesh.host, "+2d")
        poll.until("another certificate", lambda: mesh.vm.cert()["serial"] != old, 20, every=0.2)
        until_ok(mesh)
        mesh.plane.reset_faults()
        serial = int(mesh.vm.cert()["serial"], 16)
        poll.until("Envoy presents it", lambda: handshake.serial(mesh) == serial, 5)
        time.sleep(3)  # a storm would show
        assert csrs(mesh) - asked == 1
    mesh.vm.renew()


@needs_clock
def test_a_clock_ahead_of_the_cas_is_told(mesh):
    """What the CA gives out has ended already, by this clock: the cause is named, and no storm hits the CA."""
    set_clock(mesh.host, "+0")
    with fresh_agent(mesh, **clocked()):
        mesh.vm.wait("REGISTERED")
        asked = csrs(mesh)
        set_clock(mesh.host, "+40d")
        poll.until("the clock is named", lambda: item(mesh, "identity").get("id") == "HWS-CA-010", 20, every=0.2)
        assert item(mesh, "identity")["state"] == "failed"
        assert services.curl(mesh.host, f"http://{facts.REVIEWS_HOST}/").status == 200  # Envoy's clock is another
        time.sleep(3)
        assert csrs(mesh) - asked <= 2
        set_clock(mesh.host, "+0")


@needs_clock
def test_a_clock_that_jumps_back_changes_nothing(mesh):
    """It is told; no storm. Who renews meanwhile learns of the clock too: by it, the CA's own certificate isn't valid yet."""
    set_clock(mesh.host, "+0")
    with mesh_traffic(mesh), fresh_agent(mesh, **clocked()):
        mesh.vm.wait("REGISTERED")
        old, asked = mesh.vm.cert()["serial"], csrs(mesh)
        set_clock(mesh.host, "-2d")
        poll.until("the jump is told", lambda: item(mesh, "clock").get("state") == "degraded", 15, every=0.2)
        assert item(mesh, "clock")["id"] == "HWS-ID-015" and "back by 2 d" in item(mesh, "clock")["detail"]
        assert item(mesh, "identity")["state"] == "ok"
        assert (mesh.vm.cert()["serial"], csrs(mesh)) == (old, asked)
        refused = mesh.vm.cli("cert", "renew", check=False)
        assert "HWS-CA-014" in refused.stderr and "clock" in refused.stderr, refused
        assert item(mesh, "identity")["state"] == "degraded"
        set_clock(mesh.host, "+0")
        poll.until("renewing works", lambda: mesh.vm.cli("cert", "renew", check=False).returncode == 0, 10, every=0.3)
        assert mesh.vm.cert()["serial"] != old


# -- limits -----------------------------------------------------------------------------------------------------------


def test_few_descriptors_are_enough(mesh):
    """64 for each of Hawser's programs, from their start."""
    pid = proxy_pid(mesh)
    few = ["prlimit", "--nofile=64"]
    try:
        with mesh_traffic(mesh), fresh_agent(mesh, before=few):
            mesh.vm.wait("REGISTERED", timeout=20)
            mesh.vm.renew()
        assert proxy_pid(mesh) == pid
        mesh.vm.broker.kill()
        mesh.vm.broker.wait(5)
        mesh.vm.start_broker(before=few)
        poll.until("interception is back", lambda: "inet hawser {" in mesh.host.run(["nft", "list", "ruleset"]).stdout)
        until_ok(mesh)
    finally:
        mesh.vm.broker.kill()
        mesh.vm.broker.wait(5)
        mesh.vm.start_broker()


def test_descriptors_that_run_out_are_survived(mesh):
    """A crowd on hawserd's status port takes them all: it neither spins nor dies, and serves again afterwards."""
    with mesh_traffic(mesh), fresh_agent(mesh, before=["prlimit", "--nofile=64"]):
        mesh.vm.wait("REGISTERED", timeout=20)
        agent = mesh.vm.agent.pid
        crowd = mesh.host.popen(
            services.program("crowd", "127.0.0.1", "15020", "200"), log="crowd.log", **services.AS_APP
        )
        try:
            time.sleep(1)
            busy = cpu_seconds(agent)
            time.sleep(3)
            assert cpu_seconds(agent) - busy < 1.5, "hawserd spins"
            assert mesh.vm.agent.poll() is None
        finally:
            mesh.host.stop(crowd)
        poll.until("hawserd answers", lambda: is_ok(mesh), 10)


def test_a_proxy_without_descriptors_recovers(mesh):
    """Envoy at 64: SSH is untouched; what fails, fails in the proxy; with the limit gone all is as before."""
    pid = proxy_pid(mesh)
    def limit(descriptors: str) -> None:
        mesh.host.run(["prlimit", "--pid", str(pid), f"--nofile={descriptors}:"], uid=facts.UID_PROXY)

    shown = ["prlimit", "--pid", str(pid), "--nofile", "--noheadings", "-o", "SOFT"]
    soft = mesh.host.run(shown, uid=facts.UID_PROXY).stdout.strip()
    limit("64")
    try:
        for _ in range(5):
            services.curl(mesh.host, f"http://{facts.REVIEWS_HOST}/", timeout=1)
    finally:
        limit(soft)
    poll.until("requests pass", lambda: services.curl(mesh.host, f"http://{facts.REVIEWS_HOST}/").status == 200, 10)
    assert proxy_pid(mesh) == pid


def test_memory_that_runs_out_ends_hawserd_alone(mesh):
    """hawserd gets no more memory and dies; Envoy and traffic don't notice; the next one adopts."""
    pid = proxy_pid(mesh)
    with mesh_traffic(mesh):
        agent = str(pid_in_host(mesh.vm.agent.pid))
        mesh.host.run(["prlimit", "--pid", agent, "--data=4096", "--as=4096"], uid=facts.UID_AGENT)
        deadline = time.monotonic() + 10
        while mesh.vm.agent.poll() is None and time.monotonic() < deadline:
            mesh.vm.cli("cert", "renew", check=False, timeout=15)
        survived = mesh.vm.agent.poll() is None
        if survived:  # what it had was enough
            mesh.vm.kill_agent()
        mesh.vm.start_agent()
        mesh.vm.wait("REGISTERED", timeout=20)
    assert proxy_pid(mesh) == pid
    assert mesh.vm.status()["proxy"]["adopted"] is True


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pid_in_host(pid: int) -> int:
    """The number that its host gives to the machine's process `pid`."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return int(re.search(r"^NSpid:\s+(.*)$", status.read(), re.MULTILINE).group(1).split()[-1])


# -- the control plane ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dropped(world, *rules: str) -> typing.Iterator[None]:
    """Packets at the plane's host vanish; nobody is told."""
    table = "add table inet lost; add chain inet lost in { type filter hook input priority 0; };"
    table += " add chain inet lost out { type filter hook output priority 0; };"
    world.mesh.run(["nft", table + "".join(f" add rule inet lost {rule};" for rule in rules)])
    try:
        yield
    finally:
        world.mesh.run(["nft", "delete", "table", "inet", "lost"])


TO_PLANE = f"in tcp dport {facts.PLANE_PORT} drop"
FROM_PLANE = f"out tcp sport {facts.PLANE_PORT} drop"


@pytest.mark.parametrize("rules", [(TO_PLANE, FROM_PLANE), (FROM_PLANE,)], ids=["black hole", "half open"])
def test_a_silent_control_plane_is_noticed(mesh, rules):
    """Nothing passes, or only what the host sends: the plane's answers are lost."""
    with mesh_traffic(mesh):
        with dropped(mesh, *rules):
            begin = time.monotonic()
            poll.until("it is noticed", lambda: not connected(mesh), NOTICE + SLACK, every=0.2)
            took = time.monotonic() - begin
            told = poll.until("the cause is told", lambda: named(mesh), 15, every=0.2)
            assert told["id"].startswith("HWS-"), told
        until_ok(mesh, timeout=40)
    assert took <= NOTICE + SLACK


def test_a_silent_control_plane_at_the_start(mesh):
    """hawserd starts without it: it takes the stored certificate and the running proxy, and says what is missing."""
    pid = proxy_pid(mesh)
    with mesh_traffic(mesh):
        mesh.vm.kill_agent()
        with dropped(mesh, TO_PLANE, FROM_PLANE):
            mesh.vm.start_agent()
            told = poll.until(
                "status tells it",
                lambda: item(mesh, "control-plane").get("id", "").startswith("HWS-") and item(mesh, "control-plane"),
                15,
            )
            assert told["state"] in ("degraded", "failed"), told
        mesh.vm.wait("REGISTERED", timeout=40)
    assert proxy_pid(mesh) == pid


def test_goaway_is_followed_without_the_proxy_noticing(mesh):
    """The plane ends each connection after 2 s, as a real one does after 30 minutes."""
    pid = proxy_pid(mesh)
    mesh.plane.stop()
    mesh.plane.change(lambda data: data.update(max_connection_age="2s", max_connection_grace="1s"))
    mesh.plane.start(mesh.mesh)
    try:
        until_ok(mesh, timeout=40)
        opened = mesh.vm.status()["control_plane"]["streams_opened"]
        with mesh_traffic(mesh):
            poll.until(
                "some connections later", lambda: mesh.vm.status()["control_plane"]["streams_opened"] >= opened + 2, 20
            )
            mesh.plane.allow_callers([facts.REVIEWS_SA])
            ratings = mesh.reviews.url(mesh.reviews.RATINGS)
            poll.until("a change arrives", lambda: services.curl(mesh.mesh, ratings).status == 403, 15)
            mesh.plane.allow_callers(None)
            poll.until("and the next", lambda: services.curl(mesh.mesh, ratings).status == 200, 15)
        assert proxy_pid(mesh) == pid
    finally:
        mesh.plane.stop()
        mesh.plane.change(lambda data: [data.pop(key) for key in ("max_connection_age", "max_connection_grace")])
        mesh.plane.start(mesh.mesh)
        until_ok(mesh, timeout=40)


# -- certificates -----------------------------------------------------------------------------------------------------


def test_a_plane_that_shows_another_name_is_refused(mesh):
    with mesh_traffic(mesh):
        mesh.plane.faults(server_name="elsewhere.example", drop_connections=True)
        poll.until("it is refused", lambda: item(mesh, "control-plane").get("state") != "ok", 15)
        told = poll.until("the cause is told", lambda: named(mesh), 20)
        assert "HWS-" in told["id"], told
        mesh.plane.reset_faults()
        until_ok(mesh, timeout=40)


def named(world) -> dict[str, typing.Any] | None:
    now = item(world, "control-plane")
    return now if now.get("id") and now.get("state") in ("degraded", "failed") else None


def test_a_plane_with_another_root_is_refused(mesh):
    """Another CA took its place: no stream, no token for it; with the right one back all goes on."""
    state = mesh.plane.config_file.parent / "state"
    away = state.with_name("state-away")
    with mesh_traffic(mesh):
        mesh.plane.stop()
        state.rename(away)
        try:
            mesh.plane.start(mesh.mesh)
            poll.until("it is refused", lambda: named(mesh), 20)
            refused = mesh.vm.cli("cert", "renew", check=False)
            assert refused.returncode != 0 and "HWS-CA-" in refused.stderr, refused
        finally:
            mesh.plane.stop()
            for path in sorted(state.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            state.rmdir()
            away.rename(state)
            mesh.plane.start(mesh.mesh)
        until_ok(mesh, timeout=60)
        mesh.vm.renew()


@pytest.mark.parametrize("damage", ["garbage", "swapped", "gone"])
def test_the_hosts_identity_is_damaged(mesh, damage):
    """hawserd doesn't need the files while it runs; the next one tells the damage and asks for a new certificate."""
    mesh.vm.renew()  # so that there is a generation before
    old, pid = mesh.vm.cert()["serial"], proxy_pid(mesh)
    with mesh_traffic(mesh):
        script = {
            "garbage": "echo garbage > current/key.pem",
            "swapped": 'for g in gen-*; do [ "$g" = "$(readlink current)" ] || cp "$g/key.pem" current/key.pem; done',
            "gone": "rm -rf gen-* current",
        }[damage]
        mesh.host.run(["sh", "-ec", f"cd {IDENTITY}; {script}"])
        assert is_ok(mesh)
        before = len(agent_log(mesh))
        mesh.vm.stop_agent()
        mesh.vm.start_agent()
        mesh.vm.wait("REGISTERED", timeout=20)
        if damage != "gone":
            assert "HWS-ID-004" in agent_log(mesh, before)
        serial = int(mesh.vm.cert()["serial"], 16)
        assert mesh.vm.cert()["serial"] != old
        poll.until("Envoy presents it", lambda: handshake.serial(mesh) == serial, 5)
    assert proxy_pid(mesh) == pid
