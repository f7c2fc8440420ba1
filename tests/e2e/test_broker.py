# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""hawser-broker alone, with the kernel's real rules and the real Envoy, on a host of its own and one next to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

import pytest

from lab import facts, hawser, poll, services
from lab.broker_wire import SOCKET, Refused, call, exchange, intent, message
from lab.network import Lab

BOOT, RUN = "/var/lib/hawser/proxy/boot", "/var/lib/hawser/proxy/run"
PORTS = ("22", "80", "8080", "15001", "15006", "15020", "15021", "15090", "2200")
GOOD = {
    "node": {"id": "test", "cluster": "test"},
    "admin": {"address": {"pipe": {"path": "/run/hawser/proxy/f1e0.admin.sock", "mode": 0o660}}},
    "static_resources": {},
}


class Scene:
    """A host with a broker and a server on each interesting port, and a peer with the same servers."""

    def __init__(self, lab: Lab) -> None:
        self.vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        self.peer = lab.add_host("peer", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        self.hawser = hawser.HawserHost(self.vm)
        self._servers = {}
        for host in (self.vm, self.peer):
            self.start_servers(host)
        self.hawser.start_broker()

    def start_servers(self, host) -> None:
        """Anew, if they run: with them go connections that were cut off, of which TCP would learn much later."""
        if host in self._servers:
            host.stop(self._servers[host], sig=signal.SIGKILL)
        self._servers[host] = host.popen(services.program("port_server", *PORTS), stdout=subprocess.PIPE, text=True)
        assert self._servers[host].stdout.readline() == "up\n"

    def ask(self, job: str, **fields):
        return call(self.vm, job, **fields)

    def plan(self, confirm_seconds: int = 0, **changes):
        return self.ask("plan", intent=intent(**changes), confirm_seconds=confirm_seconds).plan

    def observe(self):
        return self.ask("observe").observe

    def ruleset(self) -> str:
        return self.vm.run(["nft", "list", "ruleset"]).stdout

    def reached(self, *targets: tuple[str, int], uid: int = facts.UID_APP, host=None) -> list[str]:
        """The port that really answered each connection."""
        words = [word for address, port in targets for word in (address, str(port))]
        done = (host or self.vm).run(services.program("port_client", *words), uid=uid, gid=uid, timeout=30)
        return done.stdout.split()

    def kill_broker(self) -> None:
        self.hawser.broker.kill()
        self.hawser.broker.wait(5)


@pytest.fixture(scope="module")
def scene():
    with Lab() as lab:
        yield Scene(lab)


@pytest.fixture(autouse=True)
def nothing_left(scene):
    """Every test starts with a broker and without rules, and has to leave it so."""
    if scene.hawser.broker.poll() is not None:
        scene.hawser.start_broker()
    scene.ask("remove")
    assert scene.ruleset() == ""
    yield
    if scene.hawser.broker.poll() is None:
        for generation in scene.observe().generations:  # a test that failed half-way
            with contextlib.suppress(Refused):
                scene.ask("signal", generation=generation.name, signal=signal.SIGKILL)
            scene.ask("reap", generation=generation.name, wait_ms=5000)
        scene.ask("remove")
        assert scene.ruleset() == ""


PEER, PEER6 = facts.OUTSIDE_IP, facts.OUTSIDE_IP6


def test_outbound_connections_land_at_the_proxys_port_in_both_families(scene):
    done = scene.plan()
    assert {p.name: p.passed for p in done.probes} == {"out4": True, "out6": True, "in4": True, "in6": True}
    assert scene.reached((PEER, 80), (PEER6, 80), (PEER, 8080)) == ["15001"] * 3
    counters = {c.purpose: c.packets for c in scene.observe().counters}
    assert counters["out_redirect"] == 3 and counters["out_probe"] == 2 and counters["in_probe"] >= 1


def test_probes_are_made_for_real_and_leave_no_interface(scene):
    done = scene.plan()
    details = {p.name: p.detail for p in done.probes}
    assert "reached" in details["out4"] and "reached" in details["out6"] and "reached" in details["in4"]
    assert "hwsprb" not in scene.vm.run(["ip", "link"]).stdout


def test_agent_and_proxy_go_direct(scene):
    scene.plan()
    for uid in (facts.UID_AGENT, facts.UID_PROXY):
        assert scene.reached((PEER, 80), (PEER6, 80), uid=uid) == ["80", "80"]


def test_ssh_loopback_and_excluded_targets_go_direct(scene):
    scene.plan(
        outbound_exclude=[message("PortRange", first=2200, last=2200)],
        outbound_exclude_cidrs=["fd77::/64"],
    )
    assert scene.reached((PEER, 22), (PEER6, 22), (PEER, 2200)) == ["22", "22", "2200"]
    assert scene.reached(("127.0.0.1", 80), ("::1", 80), (facts.VM_IP, 80)) == ["80", "80", "80"]
    assert scene.reached((PEER6, 80), (PEER, 80)) == ["80", "15001"]


def test_a_family_without_listener_is_left_alone(scene):
    scene.plan(ipv6=False)
    assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001", "80"]


def test_inbound_connections_land_at_the_proxys_port_but_for_the_never_list(scene):
    scene.plan()
    never = [(facts.VM_IP, port) for port in (22, 15020, 15021, 15090)]
    assert scene.reached((facts.VM_IP, 80), (facts.VM_IP6, 8080), host=scene.peer) == ["15006", "15006"]
    assert scene.reached(*never, host=scene.peer) == ["22", "15020", "15021", "15090"]
    assert scene.reached((facts.VM_IP6, 22), host=scene.peer) == ["22"]


def test_sshd_on_another_port_stays_reachable(scene):
    scene.vm.run(["rm", "-rf", "/etc/ssh"])  # a link to the machine's, if it has one
    scene.vm.write("/etc/ssh/sshd_config", "Port 2200\n")
    scene.plan()
    assert scene.reached((facts.VM_IP, 2200), (facts.VM_IP, 80), host=scene.peer) == ["2200", "15006"]
    scene.vm.run(["rm", "-r", "/etc/ssh"])


def test_remove_leaves_the_ruleset_byte_equal(scene):
    foreign = "table ip nat {\n chain pre { type nat hook prerouting priority -100; tcp dport 5555 redirect to :80; }\n}\n"
    scene.vm.run(["nft", "-f", "-"], input=foreign)
    before = scene.ruleset()
    scene.plan()
    assert scene.ruleset() != before
    scene.ask("remove")
    assert scene.ruleset() == before
    scene.vm.run(["nft", "delete", "table", "ip", "nat"])


def test_a_leftover_table_without_owner_is_replaced(scene):
    scene.vm.run(["nft", "add", "table", "inet", "hawser"])
    scene.plan()
    assert scene.reached((PEER, 80)) == ["15001"]


def test_nobody_else_can_edit_or_flush_the_rules(scene):
    scene.plan()
    scene.vm.run(["nft", "flush", "ruleset"])
    assert scene.vm.run(["nft", "flush", "chain", "inet", "hawser", "output"], check=False).returncode != 0
    assert scene.reached((PEER, 80)) == ["15001"]


def test_an_unconfirmed_plan_is_withdrawn_by_the_broker_alone(scene):
    scene.plan(confirm_seconds=1)
    assert scene.observe().active and not scene.observe().confirmed
    poll.until("the rules are gone", lambda: scene.ruleset() == "", timeout=5)
    assert not scene.observe().active
    assert scene.reached((PEER, 80)) == ["80"]
    assert not scene.vm.exists("/var/lib/hawser/netfilter/plan.pb")


def test_a_confirmed_plan_stays_and_is_stored(scene):
    done = scene.plan(confirm_seconds=1)
    scene.ask("confirm", digest=done.digest)
    time.sleep(1.3)  # the time that it must outlive
    assert scene.observe().active and scene.observe().confirmed
    assert scene.vm.exists("/var/lib/hawser/netfilter/plan.pb")
    scene.ask("remove")
    assert not scene.vm.exists("/var/lib/hawser/netfilter/plan.pb")


def test_only_what_is_in_force_can_be_confirmed(scene):
    with pytest.raises(Refused, match="HWS-BR-013"):
        scene.ask("confirm", digest="0" * 64)


def test_rules_that_lead_nowhere_are_withdrawn_at_once(scene):
    with pytest.raises(Refused, match="out4.*HWS-BR-010"):
        scene.plan(outbound_port=15002)
    poll.until("the rules are gone", lambda: scene.ruleset() == "", timeout=5)
    with pytest.raises(Refused, match="in4.*HWS-BR-010"):
        scene.plan(inbound_port=15007)
    poll.until("the rules are gone", lambda: scene.ruleset() == "", timeout=5)


@pytest.mark.parametrize(
    "changes, id",
    [
        ({"outbound_port": 0}, "HWS-NF-001"),
        ({"inbound_port": 65536}, "HWS-NF-001"),
        ({"outbound_exclude": [(90, 80)]}, "HWS-NF-002"),
        ({"outbound_exclude_cidrs": ["10.0.0.0/33"]}, "HWS-NF-003"),
        ({"ipv4": False, "ipv6": False}, "HWS-NF-005"),
    ],
)
def test_a_bad_intent_changes_nothing(scene, changes, id):
    scene.plan()
    before = scene.ruleset()
    if "outbound_exclude" in changes:
        changes = {"outbound_exclude": [message("PortRange", first=a, last=b) for a, b in changes["outbound_exclude"]]}
    with pytest.raises(Refused, match=id):
        scene.plan(**changes)
    assert _rules(scene.ruleset()) == _rules(before)


def _rules(listing: str) -> list[str]:
    return [line for line in listing.splitlines() if "packets" not in line]


def _connection(scene) -> socket.socket:
    def work() -> socket.socket:
        # as an ordinary uid: this process is root, which isn't exempt either
        return socket.create_connection((PEER, 80), timeout=5)

    return scene.vm.call(work)


def _echo(connection: socket.socket) -> bool:
    try:
        connection.sendall(b"ping")
        return connection.recv(4096).endswith(b"ping")
    except OSError:
        return False


def test_connections_through_the_proxy_survive_the_end_of_the_broker(scene):
    scene.plan()
    with contextlib.closing(_connection(scene)) as open_before:
        assert open_before.recv(16) == b"15001\n"
        scene.kill_broker()
        assert "chain output {\n\t\ttype nat hook output priority dstnat - 1" not in scene.ruleset()
        assert "hawser_anchor" in scene.ruleset()
        assert _echo(open_before)
        assert scene.reached((PEER, 80)) == ["80"]  # fail-open: new ones go direct
        scene.hawser.start_broker()
        assert _echo(open_before)
        assert not scene.observe().active  # nothing is intercepted without being asked
    scene.ask("remove")


def test_remove_waits_for_connections_and_no_longer_than_that(scene):
    scene.plan()
    with contextlib.closing(_connection(scene)) as idle:
        assert idle.recv(16) == b"15001\n"
        begun = time.monotonic()
        scene.ask("remove")
        assert 4.5 < time.monotonic() - begun < 8
        assert scene.ruleset() == ""
    scene.start_servers(scene.vm)


def test_sigterm_takes_the_rules_away(scene):
    scene.plan()
    assert scene.hawser.host.stop(scene.hawser.broker) == 0
    assert scene.ruleset() == ""
    assert not scene.vm.exists(SOCKET)


def test_reapplying_leaks_nothing(scene):
    scene.plan()
    script = (
        "import socket,sys,time\n"
        "end=time.monotonic()+3; n={}\n"
        "while time.monotonic()<end:\n"
        f"  for a in ('{PEER}','{PEER6}'):\n"
        "    try:\n"
        "      c=socket.create_connection((a,80),timeout=5); r=c.recv(16).decode().strip(); c.close()\n"
        "    except OSError as e: r=type(e).__name__\n"
        "    n[r]=n.get(r,0)+1\n"
        "import json; print(json.dumps(n))\n"
    )
    load = scene.vm.popen(
        ["/usr/bin/python3", "-I", "-c", script], uid=facts.UID_APP, gid=facts.GID_APP, stdout=-1, text=True
    )
    plans = 0
    while load.poll() is None:
        scene.plan(capture_inbound=plans % 2 == 0)  # really different each time
        plans += 1
    seen = json.loads(load.stdout.read())
    assert set(seen) == {"15001"}, seen
    assert seen["15001"] > 200 and plans > 5


# -- who may ask -----------------------------------------------------------------------------------------------

KNOCK = (
    "import socket,struct\n"
    f"c=socket.socket(socket.AF_UNIX); c.settimeout(5); c.connect('{SOCKET}')\n"
    "try:\n"
    "  c.sendall(struct.pack('!I',2)+bytes([0x22,0])); print(len(c.recv(4096)) > 4)\n"  # observe
    "except (BrokenPipeError, ConnectionResetError): print(False)\n"
)


def _knock(scene, uid: int) -> str:
    # with hawserd's group, which the socket's mode lets in
    argv = ["/usr/bin/python3", "-I", "-c", KNOCK]
    return scene.vm.run(argv, uid=uid, gid=facts.GID_AGENT).stdout.strip()


def test_only_root_and_the_agent_are_served(scene):
    before = scene.observe().requests_refused
    assert _knock(scene, facts.UID_AGENT) == "True"
    assert _knock(scene, facts.UID_APP) == "False"
    assert _knock(scene, facts.UID_PROXY) == "False"
    assert scene.observe().requests_refused == before + 2


def test_others_cannot_even_connect(scene):
    done = scene.vm.run(["/usr/bin/python3", "-I", "-c", KNOCK], uid=facts.UID_APP, check=False)
    assert "PermissionError" in done.stderr


def test_frames_that_are_no_requests_are_closed(scene):
    for payload in (b"\xff\xff\xff\xff", b"\x00" * 64):
        assert scene.vm.call(exchange, SOCKET, payload, 5) is None

    def oversized() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(SOCKET)
            client.sendall(struct.pack("!I", 1 << 31))
            return client.recv(16)

    assert scene.vm.call(oversized) == b""
    with pytest.raises(Refused, match="HWS-BR-005"):
        call_empty(scene)


def call_empty(scene):
    answer = message("Response")
    answer.ParseFromString(scene.vm.call(exchange, SOCKET, b"", 5))
    raise Refused(answer.failure)


def test_a_second_broker_cannot_steal_the_socket(scene):
    options = ["--agent-user", str(facts.UID_AGENT), "--proxy-user", str(facts.UID_PROXY)]
    done = scene.vm.run(["hawser-broker", *options], check=False, caps=hawser.BROKER_CAPS)
    assert done.returncode == 69 and "HWS-RPC-004" in done.stderr
    assert scene.observe()


@pytest.mark.parametrize(
    "arguments, code, text",
    [
        (["--agent-user", "nobody-like-this"], 67, "HWS-BR-006"),
        (["--agent-user", "881", "--proxy-user", "0"], 67, "HWS-BR-006"),
        (["--launcher", "systemd"], 64, "launcher"),
    ],
)
def test_a_bad_command_line_is_refused(scene, arguments, code, text):
    done = scene.vm.run(["hawser-broker", *arguments], check=False)
    assert done.returncode == code and text in done.stderr


# -- proxy generations -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def envoy(scene) -> str:
    """Installs the real Envoy as `hawser proxy install` does."""

    def work() -> str:
        content = pathlib.Path(services.envoy_binary()).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        folder = f"/var/lib/hawser/proxy/bin/{digest}"
        os.makedirs(folder)
        pathlib.Path(folder, "envoy").write_bytes(content)
        os.chmod(f"{folder}/envoy", 0o755)
        os.symlink(digest, "/var/lib/hawser/proxy/bin/current")
        return digest

    return scene.vm.call(work)


def _start(scene, name: str = "f1e0", **fields):
    bootstrap = json.dumps(GOOD).replace("f1e0", name).encode()
    args = ["--concurrency", "1", "--log-level", "warning", "--drain-time-s=1"]
    return scene.ask("start", **{"generation": name, "bootstrap": bootstrap, "args": args, **fields}).start


def _end(scene, name: str = "f1e0", number: int = signal.SIGTERM):
    scene.ask("signal", generation=name, signal=number)
    return scene.ask("reap", generation=name, wait_ms=10_000).reap


def _files(scene) -> dict[str, list[str]]:
    folders = ("/dev/shm", "/run/hawser/proxy", RUN, BOOT)
    return scene.vm.call(lambda: {folder: sorted(os.listdir(folder)) for folder in folders})


NO_FILES = {"/dev/shm": [], "/run/hawser/proxy": [], RUN: [], BOOT: []}


def _live(scene, name: str = "f1e0") -> bool:
    def work() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            client.connect(f"/run/hawser/proxy/{name}.admin.sock")
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.makefile("rb").read()

    return b"LIVE" in scene.vm.call(work)


def _proc(scene, pid: int) -> dict[str, str]:
    lines = scene.vm.run(["cat", f"/proc/{pid}/status"]).stdout.splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _ended(scene, pid: int) -> bool:
    return not scene.vm.exists(f"/proc/{pid}") or _proc(scene, pid)["State"].startswith("Z")


def test_a_good_bootstrap_is_valid_and_a_bad_one_says_why(scene, envoy):
    good = scene.ask("validate", generation="f1e0", bootstrap=json.dumps(GOOD).encode()).validate
    assert good.valid and good.version.startswith("1.")
    bad = scene.ask("validate", generation="f1e0", bootstrap=b'{"nonsense": 1}').validate
    assert not bad.valid and "nonsense" in bad.detail
    assert _files(scene) == NO_FILES


def test_a_generation_runs_as_the_proxys_user_without_any_privilege(scene, envoy):
    started = _start(scene)
    assert started.binary_sha256 == envoy
    poll.until("Envoy is LIVE", lambda: _live(scene))
    status = _proc(scene, started.pid)
    assert status["Uid"].split() == status["Gid"].split() == [str(facts.UID_PROXY)] * 4
    assert status["Groups"] == "" and status["NoNewPrivs"] == "1"
    assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}
    assert status["SigBlk"] == "0" * 16
    stat = scene.vm.run(["stat", "-c", "%a %u:%g", f"{BOOT}/f1e0.json"]).stdout.strip()
    assert stat == f"640 0:{facts.GID_PROXY}"
    [generation] = scene.observe().generations
    assert (generation.name, generation.pid, generation.running) == ("f1e0", started.pid, True)
    ended = _end(scene)
    assert ended.ended and ended.exit_status == 0
    assert _files(scene) == NO_FILES
    assert not scene.observe().generations


def test_a_generation_survives_the_broker_and_is_found_again(scene, envoy):
    pid = _start(scene).pid
    poll.until("Envoy is LIVE", lambda: _live(scene))
    scene.kill_broker()
    assert _live(scene)
    scene.hawser.start_broker()
    [generation] = scene.observe().generations
    assert (generation.name, generation.pid, generation.running) == ("f1e0", pid, True)
    assert _live(scene)
    ended = _end(scene, number=signal.SIGKILL)
    assert ended.ended and os.WIFSIGNALED(ended.exit_status) and os.WTERMSIG(ended.exit_status) == signal.SIGKILL
    assert _files(scene) == NO_FILES


def test_an_end_while_no_broker_ran_is_recorded(scene, envoy):
    pid = _start(scene).pid
    poll.until("Envoy is LIVE", lambda: _live(scene))
    scene.kill_broker()
    scene.vm.run(["kill", "-TERM", str(pid)])
    poll.until("Envoy has ended", lambda: _ended(scene, pid))
    poll.until("its end is recorded", lambda: json.loads(scene.vm.read(f"{RUN}/f1e0.json"))["ended"])
    scene.hawser.start_broker()
    ended = scene.ask("reap", generation="f1e0", wait_ms=5000).reap
    assert ended.ended and ended.exit_status == 0
    assert _files(scene) == NO_FILES


def test_a_killed_holder_does_not_take_its_proxy_along_and_reap_still_cleans_up(scene, envoy):
    pid = _start(scene).pid
    poll.until("Envoy is LIVE", lambda: _live(scene))
    holder = json.loads(scene.vm.read(f"{RUN}/f1e0.json"))["holder"]["pid"]
    scene.vm.run(["kill", "-KILL", str(holder)])
    poll.until("the holder has ended", lambda: _ended(scene, holder))
    assert _live(scene)
    [generation] = scene.observe().generations
    assert generation.running and generation.pid == pid
    ended = _end(scene)
    assert ended.ended and ended.exit_status == -1  # nobody was there to see it
    assert _files(scene) == NO_FILES


def test_the_holder_ignores_hangup_and_keeps_few_capabilities(scene, envoy):
    _start(scene)
    holder = json.loads(scene.vm.read(f"{RUN}/f1e0.json"))["holder"]["pid"]
    for name in ("HUP", "INT", "TERM"):
        scene.vm.run(["kill", f"-{name}", str(holder)])
    poll.until("Envoy is LIVE", lambda: _live(scene))
    status = _proc(scene, holder)
    assert int(status["CapEff"], 16) == (1 << 6) | (1 << 7)  # CAP_SETGID, CAP_SETUID
    assert status["Threads"] == "1"
    assert _end(scene).ended


def test_the_next_epoch_takes_over_and_shared_memory_lives_with_the_family(scene, envoy):
    _start(scene, "f1e0")
    poll.until("Envoy is LIVE", lambda: _live(scene, "f1e0"))
    _start(scene, "f1e1", args=["--concurrency", "1", "--parent-shutdown-time-s", "1", "--drain-time-s", "1"])
    poll.until("the next epoch is LIVE", lambda: _live(scene, "f1e1"))
    first = scene.ask("reap", generation="f1e0", wait_ms=15_000).reap
    assert first.ended and first.exit_status == 0
    assert _files(scene)["/dev/shm"] == ["envoy_shared_memory_41010"]
    assert _end(scene, "f1e1").ended
    assert _files(scene) == NO_FILES


def test_reap_in_time_says_that_it_still_runs(scene, envoy):
    _start(scene)
    assert not scene.ask("reap", generation="f1e0", wait_ms=200).reap.ended
    assert not scene.ask("reap", generation="f1e0", wait_ms=0).reap.ended
    assert _end(scene, number=signal.SIGKILL).ended


def test_a_name_that_runs_cannot_be_started_twice(scene, envoy):
    _start(scene)
    with pytest.raises(Refused, match="HWS-BR-021"):
        _start(scene)
    assert _end(scene, number=signal.SIGKILL).ended


def test_a_generation_that_fails_at_once_can_be_started_again(scene, envoy):
    scene.ask("start", generation="f1e0", bootstrap=b'{"nonsense": 1}')
    poll.until("it has ended", lambda: not scene.observe().generations[0].running)
    assert scene.observe().generations[0].exit_status != 0
    assert _start(scene).pid
    assert _end(scene, number=signal.SIGKILL).ended
    assert _files(scene) == NO_FILES


@pytest.mark.parametrize(
    "fields, id",
    [
        ({"generation": "f0e0"}, "HWS-BR-011"),
        ({"generation": "../etc/x"}, "HWS-BR-011"),
        ({"generation": "f1e01"}, "HWS-BR-011"),
        ({"args": ["--config-yaml", "{}"]}, "HWS-BR-012"),
        ({"args": ["--log-path", "/etc/passwd"]}, "HWS-BR-012"),
        ({"args": ["--concurrency", "-1"]}, "HWS-BR-012"),
        ({"args": ["--concurrency"]}, "HWS-BR-012"),
        ({"bootstrap": b""}, "HWS-BR-016"),
        ({"binary_sha256": "0" * 64}, "HWS-BR-030"),
        ({"binary_sha256": "../../../usr/bin"}, "HWS-BR-030"),
    ],
)
def test_what_may_not_be_started_is_refused(scene, envoy, fields, id):
    with pytest.raises(Refused, match=id):
        _start(scene, **({"name": fields["generation"]} if "generation" in fields else fields))
    assert _files(scene) == NO_FILES


def test_other_signals_and_unknown_generations_are_refused(scene, envoy):
    with pytest.raises(Refused, match="HWS-BR-017"):
        scene.ask("signal", generation="f1e0", signal=signal.SIGSTOP)
    with pytest.raises(Refused, match="HWS-BR-022"):
        scene.ask("signal", generation="f1e0", signal=signal.SIGTERM)
    with pytest.raises(Refused, match="HWS-BR-022"):
        scene.ask("reap", generation="f1e0", wait_ms=0)


def test_a_binary_that_was_changed_is_not_started(scene, envoy):
    path = f"/var/lib/hawser/proxy/bin/{envoy}/envoy"
    scene.vm.call(lambda: os.chmod(path, 0o757))
    with pytest.raises(Refused, match="HWS-BR-031"):
        _start(scene)
    scene.vm.call(lambda: os.chmod(path, 0o755))

    def append(byte: bytes | None) -> None:
        with open(path, "r+b") as file:
            size = os.path.getsize(path)
            if byte is None:
                file.truncate(size - 1)
            else:
                file.seek(size)
                file.write(byte)

    scene.vm.call(append, b"x")
    with pytest.raises(Refused, match="HWS-BR-032"):
        _start(scene)
    scene.vm.call(append, None)
    assert _start(scene).pid
    assert _end(scene, number=signal.SIGKILL).ended


def test_validation_does_not_hold_up_others(scene, envoy):
    request = message("Request", validate=message("ValidateRequest", generation="f1e0", bootstrap=json.dumps(GOOD).encode()))
    payload = request.SerializeToString()

    def both() -> tuple[float, bool]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(SOCKET)
            client.sendall(struct.pack("!I", len(payload)) + payload)
            begun = time.monotonic()
            exchange(SOCKET, message("Request", observe=message("ObserveRequest")).SerializeToString(), 5)
            took = time.monotonic() - begun
            client.setblocking(False)
            try:
                early = bool(client.recv(1, socket.MSG_PEEK))
            except BlockingIOError:
                early = False
            client.settimeout(20)
            assert client.recv(4096)
            return took, early

    took, early = scene.vm.call(both)
    assert took < 1 and not early
