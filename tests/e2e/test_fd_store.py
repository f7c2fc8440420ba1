# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Rules outlive the broker in systemd's descriptor store; no connection meets a host without them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time

import pytest

from lab import facts, poll
from lab.broker_scene import PEER, PEER6, Scene
from lab.fd_store import FdStore
from lab.network import Lab

NETLINK_NETFILTER = 12
# Connects without a pause until a file appears, and counts who answered.
LOAD = f"""
import collections, json, os, socket
seen = collections.Counter()
while not os.path.exists('/run/enough'):
    for address in ('{PEER}', '{PEER6}'):
        try:
            with socket.create_connection((address, 80), timeout=5) as client:
                seen[client.recv(16).decode().strip()] += 1
        except OSError as error:
            seen[type(error).__name__] += 1
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def scene():
    with Lab() as lab:
        yield Scene(lab)


@pytest.fixture
def store(scene):
    """A broker of a unit with a store, and no rules."""
    scene.ask("remove")
    scene.vm.stop(scene.hawser.broker)
    with FdStore(scene.vm) as made:
        scene.hawser.start_broker(**made.launching())
        yield made
        if scene.hawser.broker.poll() is not None:
            scene.hawser.start_broker(**made.launching())
        scene.ask("remove")
        scene.vm.stop(scene.hawser.broker)
        made.empty()
        assert scene.ruleset() == ""
    scene.hawser.start_broker()


def confirmed(scene, **changes) -> str:
    done = scene.plan(confirm_seconds=60, **changes)
    scene.ask("confirm", digest=done.digest)
    return done.digest


def again(scene, store: FdStore, how: int, *options: str) -> None:
    """A restart, or a crash and the unit's Restart=."""
    scene.hawser.broker.send_signal(how)
    scene.hawser.broker.wait(5)
    scene.hawser.start_broker(*options, **store.launching())


@contextlib.contextmanager
def connecting(scene):
    """Yields a dictionary that has the counts afterwards."""
    argv = ["/usr/bin/python3", "-I", "-c", LOAD]
    load = scene.vm.popen(argv, uid=facts.UID_APP, gid=facts.GID_APP, stdout=-1, text=True)
    seen: dict[str, int] = {}
    try:
        yield seen
    finally:
        scene.vm.write("/run/enough", "")
        out, _ = load.communicate(timeout=15)
        scene.vm.run(["rm", "/run/enough"])
    seen.update(json.loads(out))


def test_the_broker_says_ready_when_it_serves(scene, store):
    poll.until("it is ready", lambda: store.says("READY=1") and store.says("STATUS=serving"), timeout=5)
    assert list(store.fds) == ["nft-hawser"]


def test_twenty_restarts_and_crashes_leak_no_connection(scene, store):
    digest = confirmed(scene)
    with connecting(scene) as seen:
        for number in range(20):
            again(scene, store, signal.SIGTERM if number % 2 else signal.SIGKILL)
            observed = scene.observe()
            assert (observed.active, observed.confirmed, observed.digest) == (True, True, digest)
    print("connections:", seen)
    assert set(seen) == {"15001"} and seen["15001"] > 500, seen


def test_a_successor_changes_the_rules_it_found_without_a_gap(scene, store):
    confirmed(scene)
    with connecting(scene) as seen:
        for number in range(20):
            again(scene, store, signal.SIGTERM if number % 2 else signal.SIGKILL)
            confirmed(scene, capture_inbound=number % 2 == 0)
            assert "hawser_next" not in scene.ruleset()
    print("connections:", seen)
    assert set(seen) == {"15001"} and seen["15001"] > 500, seen


def test_rules_that_cannot_be_adopted_are_replaced_without_a_gap(scene, store):
    confirmed(scene)
    with connecting(scene) as seen:
        for number in range(20):
            again(scene, store, signal.SIGTERM if number % 2 else signal.SIGKILL, "--succession", "replace")
            assert scene.observe().active
            confirmed(scene, capture_inbound=number % 2 == 0)
            table = "hawser_next" if number % 2 == 0 else "hawser"
            assert list(store.fds) == [f"nft-{table}"]
            assert scene.ruleset().count("flags owner") == 1
    print("connections:", seen)
    assert set(seen) == {"15001"} and seen["15001"] > 500, seen


def test_rules_that_cannot_be_adopted_can_be_removed(scene, store):
    confirmed(scene)
    again(scene, store, signal.SIGKILL, "--succession", "replace")
    scene.ask("remove")
    assert scene.ruleset() == ""
    confirmed(scene)
    assert scene.reached((PEER, 80)) == ["15001"]


def test_a_socket_that_turns_out_not_to_own_the_rules_is_given_up(scene, store):
    """The kernel refuses the change; then, too, the new rules are there before the old ones go."""
    confirmed(scene)
    owner = store.fds["nft-hawser"]
    store.fds["nft-hawser"] = scene.vm.call(
        lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER).detach()
    )
    with connecting(scene) as seen:
        again(scene, store, signal.SIGKILL)
        confirmed(scene, capture_inbound=False)
        assert scene.ruleset().count("flags owner") == 2 and list(store.fds) == ["nft-hawser_next"]
        os.close(owner)
        assert scene.ruleset().count("flags owner") == 1 and scene.observe().active
    assert set(seen) == {"15001"}, seen
    scene.ask("remove")
    assert scene.ruleset() == ""


def test_what_is_unconfirmed_is_withdrawn_in_time_by_the_next_broker(scene, store):
    begun = time.monotonic()  # the record's time runs from before the probes
    scene.plan(confirm_seconds=8)
    again(scene, store, signal.SIGKILL)
    assert scene.observe().active and not scene.observe().confirmed
    poll.until("the rules are gone", lambda: scene.ruleset() == "", timeout=12)
    assert time.monotonic() - begun > 2.5
    again(scene, store, signal.SIGKILL)
    assert not scene.observe().active and scene.ruleset() == ""


def test_rules_without_a_record_are_withdrawn(scene, store):
    confirmed(scene)
    scene.hawser.broker.kill()
    scene.hawser.broker.wait(5)
    scene.vm.run(["rm", "/var/lib/hawser/netfilter/plan.pb"])
    scene.hawser.start_broker(**store.launching())
    poll.until("the rules are gone", lambda: scene.ruleset() == "", timeout=8)
    assert scene.reached((PEER, 80)) == ["80"]


def test_a_stop_for_good_leaves_open_connections_their_anchor_until_they_end(scene, store):
    confirmed(scene)

    def connect() -> socket.socket:
        return socket.create_connection((PEER, 80), timeout=5)

    with contextlib.closing(scene.vm.call(connect)) as before:
        assert before.recv(16) == b"15001\n"
        scene.vm.stop(scene.hawser.broker)
        assert scene.reached((PEER, 80)) == ["15001"]  # systemd hasn't emptied the store yet
        store.empty()
        assert scene.reached((PEER, 80)) == ["80"]
        assert "flags owner" not in scene.ruleset() and "hawser_anchor" in scene.ruleset()
        scene.hawser.start_broker(**store.launching())
        assert not scene.observe().active
        before.sendall(b"ping")
        assert before.recv(16).endswith(b"ping")
    scene.start_servers(scene.vm)
    poll.until("the stale anchor is gone", lambda: scene.ruleset() == "", timeout=10)


def test_a_foreign_descriptor_is_not_taken_for_the_rules(scene, store):
    scene.vm.stop(scene.hawser.broker)
    with open("/dev/null", "rb") as null:
        store.fds["nft-hawser"] = os.dup(null.fileno())
        scene.hawser.start_broker(**store.launching())
    confirmed(scene)
    assert scene.reached((PEER, 80)) == ["15001"]
