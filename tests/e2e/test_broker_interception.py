# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Interception by hawser-broker, with the kernel's real rules."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time

import pytest

from lab import facts, poll
from lab.broker_scene import PEER, PEER6, nothing_left, scene  # noqa: F401 (fixtures)
from lab.broker_wire import SOCKET, Refused, message


def test_outbound_connections_land_at_the_proxys_port_in_both_families(scene):
    done = scene.plan()
    assert {p.name: p.passed for p in done.probes} == {"out4": True, "out6": True, "in4": True, "in6": True}
    assert scene.reached((PEER, 80), (PEER6, 80), (PEER, 8080)) == ["15001"] * 3
    counters = {c.purpose: c.packets for c in scene.observe().counters}
    assert counters["out_redirect"] == 3 and counters["out_probe"] == 2 and counters["in_probe"] >= 2


def test_probes_are_made_for_real_and_leave_no_interface(scene):
    done = scene.plan()
    details = {p.name: p.detail for p in done.probes}
    assert set(details) == {"out4", "out6", "in4", "in6"}
    assert all(detail.startswith("reached") for detail in details.values()), details
    assert "hwsprb" not in scene.vm.run(["ip", "link"]).stdout


def test_where_nobody_is_exempt_somebody_else_probes(scene):
    done = scene.plan(exempt_uids=[facts.UID_APP], exempt_gids=[facts.GID_APP])
    assert all(p.passed and p.detail.startswith("reached") for p in done.probes), done.probes
    assert scene.reached((PEER, 80)) == ["80"]


def test_where_new_interfaces_have_no_ipv6_inbound_ipv6_is_read_back_only(scene):
    setting = "/proc/sys/net/ipv6/conf/default/disable_ipv6"
    scene.vm.run(["sh", "-c", f"echo 1 >{setting}"])
    try:
        details = {p.name: (p.passed, p.detail) for p in scene.plan().probes}
    finally:
        scene.vm.run(["sh", "-c", f"echo 0 >{setting}"])
    assert details["in6"] == (True, "read back only: no IPv6 address on a veth: Permission denied")
    assert details["in4"][1].startswith("reached")


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


NOWHERE, NOWHERE6 = "10.99.0.1", "fd99::1"  # a route leads there, and nobody answers


@contextlib.contextmanager
def tracked(scene, chains: str = "chain c { type filter hook output priority 0; ct state new; }; "):
    """A host whose connections are tracked without us, as a firewall's are."""
    scene.vm.run(["nft", "-f", "-"], input=f"table inet fw {{ {chains}}}")
    try:
        yield
    finally:
        scene.vm.run(["nft", "delete", "table", "inet", "fw"])


def begin(host, address: str, port: int, source_port: int = 0) -> socket.socket:
    """The first packet is lost; the kernel tries again after a second, and again."""

    def work() -> socket.socket:
        client = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        client.bind(("::" if ":" in address else "0.0.0.0", source_port))
        client.setblocking(False)
        client.connect_ex((address, port))
        return client

    return host.call(work)


def told(client: socket.socket, timeout: float = 8) -> str:
    client.settimeout(timeout)
    return client.recv(16).decode().strip()


def sent_again(client: socket.socket) -> int:
    """How often TCP had to repeat something: tcpi_total_retrans of linux/tcp.h."""
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return int.from_bytes(info[100:104], sys.byteorder)


def unanswered(client: socket.socket) -> bool:
    TCP_SYN_SENT = 2  # include/net/tcp_states.h
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_SYN_SENT


def test_a_connection_begun_without_rules_is_intercepted_with_its_next_packet(scene):
    with tracked(scene), begin(scene.vm, NOWHERE, 80) as ipv4, begin(scene.vm, NOWHERE6, 80) as ipv6:
        scene.plan()
        assert (told(ipv4), told(ipv6)) == ("15001", "15001")


def test_nor_does_a_gap_leave_ports_that_pass_the_rules_by(scene):
    with tracked(scene):
        begin(scene.vm, NOWHERE, 80, source_port=33333).close()
        scene.plan()
        with begin(scene.vm, NOWHERE, 80, source_port=33333) as client:
            assert told(client) == "15001"
            assert sent_again(client) == 0


def test_a_connection_begun_to_what_is_left_alone_stays_direct(scene):
    with tracked(scene), begin(scene.vm, NOWHERE, 22) as client:
        scene.plan()
        before = sent_again(client)
        poll.until("two more attempts", lambda: sent_again(client) >= before + 2)
        assert unanswered(client)


# Marked on its first packet: a second first packet is one that tracking was made to forget.
MARKS = "counter began { }; counter passed { }; "
MARKING = "tcp dport 80 counter name passed; tcp dport 80 ct mark 0 ct mark set 7 counter name began; "


def packets(scene, counter: str) -> int:
    listed = json.loads(scene.vm.run(["nft", "-j", "list", "counter", "inet", "fw", counter]).stdout)
    return next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)


def stays_tracked(scene, host) -> None:
    with begin(host, NOWHERE, 80):
        poll.until("it began", lambda: packets(scene, "began") == 1)
        scene.plan()
        before = packets(scene, "passed")
        poll.until("it was tried again", lambda: packets(scene, "passed") > before)
        assert packets(scene, "began") == 1


def test_what_is_routed_for_others_is_not_forgotten(scene):
    """Else a firewall on the way would take its answer for a stranger's."""
    scene.vm.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0"])
    scene.vm.run(["sysctl", "-qw", "net.ipv4.conf.eth0.send_redirects=0"])
    scene.peer.run(["ip", "route", "add", NOWHERE, "via", facts.VM_IP])
    try:
        with tracked(scene, MARKS + "chain c { type filter hook forward priority 0; " + MARKING + "}; "):
            stays_tracked(scene, scene.peer)
    finally:
        scene.peer.run(["ip", "route", "del", NOWHERE])
        scene.vm.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])


def test_what_another_programs_nat_changed_is_not_forgotten(scene):
    nat = "chain d { type nat hook output priority -100; tcp dport 80 dnat ip to 10.99.0.2; }; "
    with tracked(scene, MARKS + nat + "chain c { type filter hook output priority 0; " + MARKING + "}; "):
        stays_tracked(scene, scene.vm)


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
    scene.plan(confirm_seconds=3)
    assert scene.observe().active and not scene.observe().confirmed
    poll.until("the rules are gone", lambda: scene.ruleset() == "", timeout=5)
    assert not scene.observe().active
    assert scene.reached((PEER, 80)) == ["80"]
    assert not scene.vm.exists("/var/lib/hawser/netfilter/plan.pb")


def test_a_confirmed_plan_stays_and_is_stored(scene):
    done = scene.plan(confirm_seconds=3)
    scene.ask("confirm", digest=done.digest)
    time.sleep(3.3)  # the time that it must outlive
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


OPEN = message("FailurePolicy", inbound_closed=False, outbound_closed=False)
CLOSED = message("FailurePolicy", inbound_closed=True, outbound_closed=True)


def test_connections_through_the_proxy_survive_the_end_of_the_broker(scene):
    scene.ask("plan", intent=scene.intent(), on_failure=OPEN)
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


def test_what_fails_closed_outlives_the_broker_and_is_gone_on_with(scene):
    scene.ask("plan", intent=scene.intent(), on_failure=CLOSED)
    with contextlib.closing(_connection(scene)) as open_before:
        assert open_before.recv(16) == b"15001\n"
        scene.kill_broker()
        assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001"] * 2
        assert scene.reached((facts.VM_IP, 80), (facts.VM_IP, 22), host=scene.peer) == ["15006", "22"]
        assert _echo(open_before)
        edited = scene.vm.run(["nft", "flush", "chain", "inet", "hawser_stays", "output"], check=False)
        assert edited.returncode == 0, "nobody owns it, so that it can stay"
        scene.hawser.start_broker()
        assert scene.observe().active
        assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001"] * 2
        assert _echo(open_before)


def test_what_fails_closed_refuses_while_nobody_listens(scene):
    scene.ask("plan", intent=scene.intent(), on_failure=CLOSED)
    scene.kill_broker()
    scene.start_servers(scene.vm, without=("15001", "15006"))
    assert not scene.vm.tcp(PEER, 80) and scene.vm.tcp(PEER, 22)
    scene.hawser.start_broker()
    assert not scene.vm.tcp(PEER, 80), "closed it stays, and isn't brought to a proxy that isn't there"
    scene.start_servers(scene.vm)


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


LOADED, PLANS = 3, 6  # seconds at least, and plans made in them


def test_reapplying_leaks_nothing(scene):
    scene.plan()
    script = (
        "import select,socket,sys,time\n"
        "end=time.monotonic()+60; n={}\n"
        "while time.monotonic()<end and not select.select([sys.stdin],[],[],0)[0]:\n"
        f"  for a in ('{PEER}','{PEER6}'):\n"
        "    try:\n"
        "      c=socket.create_connection((a,80),timeout=5); r=c.recv(16).decode().strip(); c.close()\n"
        "    except OSError as e: r=type(e).__name__\n"
        "    n[r]=n.get(r,0)+1\n"
        "import json; print(json.dumps(n))\n"
    )
    load = scene.vm.popen(
        ["/usr/bin/python3", "-I", "-c", script], uid=facts.UID_APP, gid=facts.GID_APP, stdin=-1, stdout=-1, text=True
    )
    begun, plans = time.monotonic(), 0
    while plans < PLANS or time.monotonic() - begun < LOADED:
        scene.plan(capture_inbound=plans % 2 == 0)  # really different each time
        plans += 1
    seen = json.loads(load.communicate("", timeout=20)[0])
    assert set(seen) == {"15001"} and seen["15001"] > PLANS, seen


def test_what_fails_open_is_refused_after_its_time(scene):
    """Without a proxy, and by packets: a broker that is killed meanwhile keeps the time."""
    seconds = 4
    policy = message("FailurePolicy", inbound_closed=True, outbound_closed=False, max_open_seconds=seconds)
    scene.start_servers(scene.vm)
    done = scene.ask("plan", intent=scene.intent(), confirm_seconds=60, on_failure=policy).plan
    scene.ask("confirm", digest=done.digest)
    scene.start_servers(scene.vm, without=("15001", "15006"))
    begun = time.monotonic()
    scene.ask("plan", fail=True)
    assert scene.reached((PEER, 80), (PEER6, 80)) == ["80", "80"]
    assert scene.reached((facts.VM_IP, 80), host=scene.peer) == ["refused"]
    assert scene.observe().open_until > time.time() * 1000
    scene.kill_broker()
    scene.hawser.start_broker()
    poll.until("outbound is refused", lambda: scene.reached((PEER, 80), (PEER6, 80)) == ["refused"] * 2, seconds + 5)
    assert time.monotonic() - begun > seconds - 1
    assert scene.reached((PEER, 22)) == ["22"]
    assert (scene.observe().open_until, scene.observe().opens_closed) == (0, 1)
    scene.start_servers(scene.vm)
    scene.ask("plan", intent=scene.intent(), confirm_seconds=60, on_failure=policy)
    assert scene.reached((PEER, 80)) == ["15001"]
    scene.ask("remove")
