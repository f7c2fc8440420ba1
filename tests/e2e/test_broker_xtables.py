# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Interception by hawser-broker over legacy xtables, as on a kernel without nf_tables."""

from __future__ import annotations

import contextlib
import json
import signal
import time

import pytest

from e2e import test_broker_interception as nft
from e2e.test_broker_interception import (  # noqa: F401 (what a connection does, whatever made the rules)
    test_a_bad_intent_changes_nothing,
    test_a_confirmed_plan_stays_and_is_stored,
    test_a_connection_begun_to_what_is_left_alone_stays_direct,
    test_a_connection_begun_without_rules_is_intercepted_with_its_next_packet,
    test_a_family_without_listener_is_left_alone,
    test_agent_and_proxy_go_direct,
    test_inbound_connections_land_at_the_proxys_port_but_for_the_never_list,
    test_outbound_connections_land_at_the_proxys_port_in_both_families,
    test_reapplying_leaks_nothing,
    test_remove_waits_for_connections_and_no_longer_than_that,
    test_ssh_loopback_and_excluded_targets_go_direct,
    test_sshd_on_another_port_stays_reachable,
)
from lab import facts, failpoints, poll
from lab.broker_scene import PEER, PEER6, Scene, nothing_left  # noqa: F401 (a fixture)
from lab.broker_wire import Refused, message
from lab.network import Lab

LOCK = "/run/xtables.lock"
OPTIONS = ("--backend", "xtables", "--guardian-wait", "600000")


def saved(host) -> str:
    """Rules of both families, without times, counters, and tables that are there and empty."""
    out = []
    for program in ("iptables-legacy-save", "ip6tables-legacy-save"):
        lines = host.run([program]).stdout.splitlines()
        out += [line.split(" [")[0] for line in lines if line[:1] in "-" or (line[:1] == ":" and line.split()[1] == "-")]
    return "\n".join(out)


class XtablesScene(Scene):
    def __init__(self, lab: Lab) -> None:
        # Nobody renews a lease here.
        super().__init__(lab, *OPTIONS)

    def ruleset(self) -> str:
        return saved(self.vm)


@pytest.fixture(scope="module")
def scene():
    with Lab() as lab:
        yield XtablesScene(lab)


@pytest.fixture(autouse=True)
def nothing_in_nftables(nothing_left, scene):  # noqa: F811 (as of the other backend, and not there)
    yield
    assert "hawser" not in scene.vm.run(["nft", "list", "ruleset"]).stdout


def test_status_says_which_backend(scene):
    assert scene.observe().backend == "xtables"


def test_others_rules_stay_where_they_are(scene):
    scene.vm.run(["iptables-legacy", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "5555", "-j", "ACCEPT"])
    before = scene.ruleset()
    try:
        scene.plan()
        assert scene.reached((facts.VM_IP, 80), host=scene.peer) == ["15006"]
        scene.ask("remove")
        assert scene.ruleset() == before
    finally:
        scene.vm.run(["iptables-legacy", "-t", "nat", "-F", "PREROUTING"])


def test_the_rules_outlive_a_killed_broker_and_are_known_to_the_next(scene):
    digest = scene.plan().digest
    scene.ask("confirm", digest=digest)
    with contextlib.closing(nft._connection(scene)) as open_before:
        assert open_before.recv(16) == b"15001\n"
        scene.kill_broker()
        assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001", "15001"]
        scene.hawser.start_broker()
        assert scene.observe().active and scene.observe().confirmed and scene.observe().digest == digest
        assert nft._echo(open_before)


def test_rules_that_no_record_explains_are_withdrawn(scene):
    scene.plan()
    scene.kill_broker()
    scene.vm.run(["rm", "/var/lib/hawser/netfilter/plan.pb"])
    scene.hawser.start_broker()
    poll.until("the rules are gone", lambda: scene.ruleset() == "", timeout=10)
    assert scene.reached((PEER, 80)) == ["80"]


def test_connections_through_the_proxy_survive_that_the_rules_go(scene):
    scene.plan(confirm_seconds=3)
    with contextlib.closing(nft._connection(scene)) as idle:
        assert idle.recv(16) == b"15001\n"
        poll.until("the rules are withdrawn", lambda: not scene.observe().active, timeout=5)
        assert scene.reached((PEER, 80)) == ["80"]
        assert nft._echo(idle)
        assert "HAWSER_ANCHOR" in scene.ruleset() and "REDIRECT" not in scene.ruleset()
    poll.until("the anchor is gone", lambda: scene.ruleset() == "", timeout=10)


def test_without_a_proxy_connections_are_refused(scene):
    scene.ask(
        "plan",
        intent=scene.intent(),
        without_proxy=True,
        on_failure={"inbound_closed": True, "outbound_closed": True},
    )
    assert scene.reached((PEER, 80), (PEER6, 80), (PEER, 22)) == ["refused", "refused", "22"]
    assert scene.observe().digest and "HAWSER_INPUT" in scene.ruleset()
    assert scene.reached((facts.VM_IP, 80), (facts.VM_IP6, 80), (facts.VM_IP, 22), host=scene.peer) == [
        "refused",
        "refused",
        "22",
    ]


def test_a_lock_that_another_program_holds_is_waited_for_and_then_named(scene):
    scene.plan()
    before = scene.ruleset()
    holder = scene.vm.popen(["flock", LOCK, "sleep", "60"])
    try:
        poll.until("it holds the lock", lambda: scene.vm.run(["flock", "-n", LOCK, "true"], check=False).returncode != 0)
        with pytest.raises(Refused, match="has held the xtables lock.*HWS-NF-071"):
            scene.plan(capture_inbound=False)
        assert scene.ruleset() == before
    finally:
        scene.vm.stop(holder, sig=signal.SIGKILL)
        scene.vm.run(["pkill", "-x", "sleep"], check=False)
    poll.until("the lock is free", lambda: scene.vm.run(["flock", "-n", LOCK, "true"], check=False).returncode == 0)
    scene.plan(capture_inbound=False)


def test_killed_between_two_tables_it_finds_its_way_back(scene):
    """IPv4 has the new rules then, and IPv6 the old ones: whatever is in force is redirected all the while."""
    if not failpoints.compiled_in():
        pytest.skip("the programs have no fail-points")
    scene.ask("confirm", digest=scene.plan().digest)
    scene.kill_broker()
    scene.hawser.start_broker(env=failpoints.at("xtables/nat", 2))
    with pytest.raises(AssertionError):
        scene.plan(capture_inbound=False)
    failpoints.dies(scene.hawser.broker, "xtables/nat")
    rules = {ip: scene.vm.run([f"{ip}tables-legacy-save", "-t", "nat"]).stdout for ip in ("ip", "ip6")}
    assert "-A PREROUTING" not in rules["ip"] and "-A PREROUTING" in rules["ip6"]
    assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001", "15001"]
    scene.hawser.start_broker()
    assert scene.observe().active
    assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001", "15001"]
    assert scene.reached((facts.VM_IP, 80), (facts.VM_IP6, 80), host=scene.peer) == ["80", "80"]


def test_an_edit_while_no_broker_ran_is_mended(scene):
    scene.ask("confirm", digest=scene.plan().digest)
    scene.kill_broker()
    scene.vm.run(["iptables-legacy", "-t", "nat", "-F", "OUTPUT"])
    assert scene.reached((PEER, 80)) == ["80"]
    scene.hawser.start_broker()
    assert scene.observe().active and scene.observe().confirmed
    assert scene.reached((PEER, 80)) == ["15001"]


def test_a_flush_is_noticed_by_looking_and_healed(scene):
    """Nothing tells of changes to xtables, so it takes until the next look."""
    scene.ask("confirm", digest=scene.plan().digest)
    scene.vm.run(["iptables-legacy", "-t", "nat", "-F"])
    scene.vm.run(["ip6tables-legacy", "-t", "nat", "-D", "OUTPUT", "1"])
    assert scene.reached((PEER, 80), (PEER6, 80)) == ["80", "80"]
    poll.until("the rules are healed", lambda: scene.reached((PEER, 80), (PEER6, 80)) == ["15001"] * 2, timeout=30)
    assert scene.observe().active and scene.observe().drift.healed == 1


LOAD = """
import select, socket, sys, time, json
end = time.monotonic() + 60; n = {}
while time.monotonic() < end and not select.select([sys.stdin], [], [], 0)[0]:
    for a in sys.argv[1:]:
        try:
            c = socket.create_connection((a, 80), timeout=5); r = c.recv(16).decode().strip(); c.close()
        except OSError as e:
            r = type(e).__name__
        n[r] = n.get(r, 0) + 1
print(json.dumps(n))
"""


LOADED, RESTARTS = 3, 4  # seconds at least, and restarts in them


def load(scene):
    """Until its standard input is closed."""
    return scene.vm.popen(
        ["/usr/bin/python3", "-I", "-c", LOAD, PEER, PEER6],
        uid=facts.UID_APP,
        gid=facts.GID_APP,
        stdin=-1,
        stdout=-1,
        text=True,
    )


def test_restarting_the_broker_leaks_nothing(scene):
    scene.ask("confirm", digest=scene.plan().digest)
    running = load(scene)
    begun, restarts = time.monotonic(), 0
    while restarts < RESTARTS or time.monotonic() - begun < LOADED:
        scene.kill_broker()
        scene.hawser.start_broker()
        scene.plan(capture_inbound=restarts % 2 == 0)
        scene.ask("confirm", digest=scene.observe().digest)
        restarts += 1
    seen = json.loads(running.communicate("", timeout=20)[0])
    assert set(seen) == {"15001"} and seen["15001"] > RESTARTS, seen


@pytest.mark.parametrize("closed", [True, False])
def test_a_chosen_backend_makes_the_rules_that_are_in_force_its_own(scene, closed):
    """Nobody applies them again."""
    policy = message("FailurePolicy", inbound_closed=closed, outbound_closed=closed)
    scene.ask("confirm", digest=scene.ask("plan", intent=scene.intent(), on_failure=policy).plan.digest)
    scene.kill_broker()
    scene.hawser.broker_options = ("--backend", "nftables")
    try:
        scene.hawser.start_broker()
        assert scene.observe().active and scene.observe().confirmed
        assert scene.ruleset() == ""
        assert scene.reached((PEER, 80), (PEER6, 80)) == ["15001", "15001"]
        scene.ask("remove")
    finally:
        scene.kill_broker()
        scene.hawser.broker_options = OPTIONS


def test_going_over_to_nftables_leaks_nothing(scene):
    scene.ask("confirm", digest=scene.plan().digest)
    running = load(scene)
    try:
        scene.kill_broker()
        scene.hawser.broker_options = ("--backend", "nftables")
        scene.hawser.start_broker()
        assert scene.observe().active
        scene.plan()
        assert "HAWSER" not in scene.ruleset()
        assert "table inet hawser" in scene.vm.run(["nft", "list", "ruleset"]).stdout
        seen = json.loads(running.communicate("", timeout=20)[0])
        assert set(seen) == {"15001"} and seen["15001"] > 20, seen
        scene.ask("remove")
    finally:
        scene.kill_broker()
        scene.hawser.broker_options = OPTIONS
