# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What others do to the rules is noticed, healed and counted; told by what connections do."""

from __future__ import annotations

import time

from lab import facts, poll
from lab.broker_scene import PEER, PEER6, nothing_left, scene  # noqa: F401 (fixtures)
from lab.broker_wire import message

CLOSED = {"on_failure": message("FailurePolicy", inbound_closed=True, outbound_closed=True)}
OPEN = {"on_failure": message("FailurePolicy", inbound_closed=False, outbound_closed=False)}


def apply(scene, policy, **changes):
    return scene.ask("plan", intent=scene.intent(**changes), **policy).plan


def drift(scene):
    return scene.observe().drift


def captured(scene) -> bool:
    there = scene.reached((PEER, 80), (PEER6, 80)) == ["15001"] * 2
    return there and scene.reached((facts.VM_IP, 80), host=scene.peer) == ["15006"]


def healed_within_two_seconds(scene, before: int, begun: float) -> None:
    poll.until("it was noticed and healed", lambda: drift(scene).healed > before, timeout=5, every=0.01)
    print(f"healed after {1000 * (time.monotonic() - begun):.0f} ms")
    assert captured(scene)


def harm(scene, argv, **how) -> None:
    before, begun = drift(scene).healed, time.monotonic()
    scene.vm.run(argv, **how)
    healed_within_two_seconds(scene, before, begun)


def log(scene) -> str:
    return (scene.vm.log_dir / "hawser-broker.log").read_text(errors="replace")


def test_a_flush_by_another_program_is_healed_and_it_is_named(scene):
    apply(scene, CLOSED)
    assert captured(scene)
    harm(scene, ["nft", "flush", "ruleset"])
    seen = drift(scene)
    assert seen.found >= 1 and seen.program == "nft" and seen.what, seen
    assert "another program changed the rules" in log(scene) and "program=nft" in log(scene)


def test_a_reload_as_firewalld_makes_it_is_healed(scene):
    """One transaction that begins with a flush of everything; its own tables stay."""
    apply(scene, CLOSED)
    rules = "flush ruleset\ntable inet firewalld { chain in { type filter hook input priority 10; accept; }; }\n"
    harm(scene, ["nft", "-f", "-"], input=rules)
    assert "firewalld" in scene.ruleset()
    scene.vm.run(["nft", "delete", "table", "inet", "firewalld"])


def test_the_anchor_that_somebody_emptied_or_took_away_comes_back(scene):
    apply(scene, OPEN)
    harm(scene, ["nft", "flush", "chain", "inet", "hawser_anchor", "hold"])
    assert "ct state established accept" in scene.ruleset()
    harm(scene, ["nft", "delete", "table", "inet", "hawser_anchor"])
    assert "hawser_anchor" in scene.ruleset()


def test_changes_of_other_tables_are_no_drift(scene):
    apply(scene, CLOSED)
    before = drift(scene)
    scene.vm.run(["nft", "-f", "-"], input="table ip docker { chain c { type filter hook input priority 0; }; }\n")
    scene.vm.run(["iptables-nft", "-t", "nat", "-N", "DOCKER"], check=False)
    scene.plan(ipv6=False)  # our own
    after = drift(scene)
    assert (after.found, after.healed) == (before.found, before.healed)
    scene.vm.run(["iptables-nft", "-t", "nat", "-X", "DOCKER"], check=False)
    scene.vm.run(["nft", "flush", "ruleset"])


def test_who_fights_us_is_given_way_to_and_told(scene):
    apply(scene, OPEN)
    before = drift(scene).healed
    script = "while :; do nft delete table inet hawser_anchor 2>/dev/null; done"
    fighter = scene.vm.popen(["sh", "-c", script])
    try:
        poll.until("it backs off", lambda: drift(scene).backing_off, timeout=8)
        assert drift(scene).healed - before <= 8
        assert "HWS-BR-034" in log(scene)
        assert scene.reached((PEER, 80)) == ["15001"]
    finally:
        scene.vm.stop(fighter, sig=9)
    poll.until("it's healed in the end", lambda: "hawser_anchor" in scene.ruleset(), timeout=40)


def test_the_same_plan_again_changes_nothing(scene):
    apply(scene, CLOSED)
    before = scene.observe().transactions
    handles = scene.vm.run(["nft", "-a", "list", "ruleset"]).stdout
    done = apply(scene, CLOSED)
    assert done.apply_ms == 0 and scene.observe().transactions == before
    now = scene.vm.run(["nft", "-a", "list", "ruleset"]).stdout
    assert [line for line in now.splitlines() if "packets" not in line] == [
        line for line in handles.splitlines() if "packets" not in line
    ]


def test_a_try_that_nobody_confirms_gives_way_to_what_was_confirmed(scene):
    done = apply(scene, CLOSED)
    scene.ask("confirm", digest=done.digest)
    excluded = [message("PortRange", first=80, last=80)]
    scene.ask("plan", intent=scene.intent(outbound_exclude=excluded), confirm_seconds=3, revert=True, **CLOSED)
    assert scene.reached((PEER, 80), (PEER, 8080)) == ["80", "15001"]
    assert scene.observe().revert and not scene.observe().confirmed
    poll.until("what was confirmed is back", lambda: scene.reached((PEER, 80)) == ["15001"], timeout=8)
    assert scene.observe().confirmed and scene.observe().digest == done.digest


def test_verify_reads_back_and_probes(scene):
    apply(scene, CLOSED)
    checks = {c.name: c.passed for c in scene.ask("verify").verify.checks}
    assert checks == {"read back": True, "out4": True, "out6": True, "in4": True, "in6": True}


def test_remove_proves_that_nothing_is_left_and_sees_what_is(scene):
    apply(scene, CLOSED)
    checks = scene.ask("remove").remove.checks
    assert len(checks) == 10 and all(c.passed for c in checks), checks
    scene.vm.run(["nft", "add", "table", "ip", "hawser_next"])
    scene.vm.run(["ip", "-6", "rule", "add", "fwmark", "1337", "lookup", "133", "protocol", "147"])
    scene.vm.run(["ip", "-6", "addr", "add", "::6/128", "dev", "lo", "metric", "147133"])
    scene.vm.run(["ip", "route", "add", "local", "default", "dev", "lo", "table", "133", "protocol", "147"])
    scene.vm.run(["iptables-nft", "-t", "nat", "-N", "HAWSER_OUT"])
    try:
        failed = {c.name for c in scene.ask("remove").remove.checks if not c.passed}
        # its own address and route it takes away whoever made them; these are none that it makes
        assert failed == {"nftables tables", "iptables-nft chains", "IPv6 policy rules"}
        assert "::6" not in scene.vm.run(["ip", "-6", "addr", "show", "dev", "lo"]).stdout
    finally:
        scene.vm.run(["ip", "-6", "rule", "del", "fwmark", "1337"])
        scene.vm.run(["nft", "flush", "ruleset"])
