# SPDX-License-Identifier: Apache-2.0
"""The programs die at each durable step; after a restart the host is in the mesh with one whole identity."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

import pytest

from lab import facts, failpoints, handshake, layout, poll, services, steps

pytestmark = [
    pytest.mark.incremental,
    failpoints.needed,
]

IDENTITY = "/var/lib/hawser/identity"
JOINED = "/etc/hawser/conf.d/50-join.yaml"

# each a kind of step, of the token, of the files of a generation, and of putting it in force
JOIN_STEPS = (
    "write.data/token.new",
    "rename/token",
    "generation.make/*",
    "write.sync/key.pem.new",
    "rename/meta.json",
    "rename/current",
    "folder.synced/identity",
)


def is_whole(world) -> None:
    """The key, the certificate and what Envoy presents belong together; root reads what hawserd wrote."""
    script = (
        f"set -e; cd {IDENTITY}/current; openssl pkey -in key.pem -pubout >/run/lab/of-key;"
        " openssl x509 -in cert-chain.pem -noout -pubkey >/run/lab/of-cert; cmp /run/lab/of-key /run/lab/of-cert;"
        " openssl x509 -in cert-chain.pem -noout -serial"
    )
    stored = int(world.host.run(["sh", "-c", script]).stdout.strip().removeprefix("serial="), 16)
    assert int(world.vm.cert()["serial"], 16) == stored
    poll.until("Envoy presents it", lambda: handshake.serial(world) == stored, 5)


def in_the_mesh(world) -> None:
    """Status, both directions, the identity."""
    world.vm.wait("REGISTERED", timeout=30)
    poll.until("the VM's program reaches reviews", lambda: reaches(world), 10)
    is_whole(world)


def reaches(world) -> bool:
    return services.curl(world.host, f"http://{facts.REVIEWS_HOST}/").status == 200


@pytest.mark.parametrize("step", JOIN_STEPS)
def test_hawserd_dies_while_joining(world, step):
    world.vm.stop_agent()
    world.vm.start_agent(env=failpoints.at(step))
    answer = world.vm.join(world.bundle, check=False)
    failpoints.dies(world.vm.agent, step)
    world.vm.start_agent()
    if answer.returncode != 0:  # the token wasn't accepted, so the host isn't joined, and the same command joins it
        assert "HWS-" in answer.stderr, answer.stderr
        assert not world.host.exists(JOINED)
        world.vm.join(world.bundle)
    in_the_mesh(world)
    world.vm.leave()
    assert not world.host.call(os.listdir, IDENTITY), "leaving left something of the identity"


@pytest.mark.parametrize("step", ["write.data/50-join.yaml.new", "rename/50-join.yaml", "folder.synced/conf.d"])
def test_hawser_join_dies(world, step):
    argv = [f"{layout.BIN_IN_HOST}/hawser", "join", str(world.bundle)]
    died = world.host.run(argv, env=failpoints.at(step), check=False, timeout=30)
    assert died.returncode == failpoints.KILLED, died
    again = world.vm.join(world.bundle, check=False)
    if again.returncode != 0:  # written, but nobody was told: it says how to go on, and that works
        assert "HWS-CLI-006" in again.stderr and "hawser leave" in again.stderr, again.stderr
        world.vm.leave()
        world.vm.join(world.bundle)
    in_the_mesh(world)
    world.vm.leave()


def test_hawser_leave_dies_and_is_repeated(world):
    world.vm.join(world.bundle)
    in_the_mesh(world)
    argv = [f"{layout.BIN_IN_HOST}/hawser", "leave"]
    died = world.host.run(argv, env=failpoints.at("remove/50-join.yaml"), check=False, timeout=60)
    assert died.returncode == failpoints.KILLED, died
    world.vm.leave()
    assert not world.host.exists(JOINED)


def test_hawserd_dies_at_every_step_of_a_renewal(world):
    world.vm.join(world.bundle)
    in_the_mesh(world)
    world.vm.renew()  # so that the next one has an old generation to drop
    world.vm.stop_agent()
    world.vm.start_agent(env=failpoints.TELL)
    world.vm.wait("REGISTERED", timeout=30)
    failpoints.forget(world.vm, "hawserd.log")
    world.vm.renew()
    found = failpoints.told(world.vm, "hawserd.log")
    assert {"generation.make/gen-*", "write.sync/key.pem.new", "rename/current", "drop/gen-*"} <= set(found), found
    # opening is alike for the four files; the unit tests have each step
    found = [s for s in found if "key.pem" in s or not s.startswith(("write.open/", "write.mode/"))]
    with world.traffic() as traffic:
        traffic.more(5)
        for step in found:
            world.vm.stop_agent()
            world.vm.start_agent(env=failpoints.at(step))
            world.vm.wait("REGISTERED", timeout=30)
            before = world.vm.cert()["serial"]
            renewing = world.host.popen([f"{layout.BIN_IN_HOST}/hawser", "cert", "renew"], stdout=subprocess.DEVNULL)
            failpoints.dies(world.vm.agent, step)
            renewing.wait(10)
            world.vm.start_agent()
            world.vm.wait("REGISTERED", timeout=30)
            is_whole(world)
            put_in_force = step in ("folder.sync/identity", "folder.synced/identity", "drop/gen-*")
            assert put_in_force or world.vm.cert()["serial"] == before, f"{step}: half a renewal is in force"
        traffic.more(5)
        traffic.finish()
    world.vm.renew()
    left = sorted(set(world.host.call(os.listdir, IDENTITY)) - {"trust.json"})
    assert len(left) == 4 and left[0] == "current" and left[-1] == "token", f"more than current and previous: {left}"


def test_a_slow_disk_holds_up_the_renewal_and_nothing_else(world):
    """Each sync of a key's file takes two seconds, eight for a generation; status and traffic don't wait for it."""
    world.vm.stop_agent()
    world.vm.start_agent(env=failpoints.slow("write.sync/*.new", 2000))
    world.vm.wait("REGISTERED", timeout=60)
    before = world.vm.cert()["serial"]
    with world.traffic() as traffic:
        begun = time.monotonic()
        renewing = world.host.popen([f"{layout.BIN_IN_HOST}/hawser", "cert", "renew"], stdout=subprocess.DEVNULL)
        slow = 0
        while renewing.poll() is None:
            asked = time.monotonic()
            assert asked - begun < 40, "the renewal doesn't end"
            world.vm.status()
            slow += time.monotonic() - asked > 1.5
        assert renewing.returncode == 0
        assert time.monotonic() - begun > 4, "the disk wasn't slow"
        # The disk holds each of several writes up for 2 s; a machine of its own may do so once.
        assert slow <= 1, f"status waited for the disk {slow} times"
        traffic.finish()
    assert world.vm.cert()["serial"] != before
    is_whole(world)
    world.vm.stop_agent()
    world.vm.start_agent()
    in_the_mesh(world)


def start_broker_anew(world, env: dict[str, str] | None = None, *, with_proxy: bool = True) -> None:
    """With no proxy left, the broker has to start one: then it also writes a bootstrap and a record.

    What fails closed outlives the broker, and the same plan again is no change: so that there is one, it's taken away.
    """
    pid = world.vm.status()["proxy"]["pid"]
    world.vm.broker.kill()
    world.vm.broker.wait(5)
    for table in ("hawser_stays", "hawser"):
        world.host.run(["nft", "delete", "table", "inet", table], check=False)
    if not with_proxy:
        world.host.run(["kill", "-9", str(pid)], check=False)
    with contextlib.suppress(poll.Hopeless):  # it may die before it serves
        world.vm.start_broker(env=env)


def is_well(world) -> bool:
    return reaches(world) and world.vm.status()["state"] == "ok"


def test_the_broker_dies_at_every_step_of_a_plan(world):
    """Of recording what is in force and what was confirmed."""
    failpoints.forget(world.vm, "hawser-broker.log")
    start_broker_anew(world, failpoints.TELL)
    poll.until("in the mesh", lambda: is_well(world), 30)
    found = failpoints.told(world.vm, "hawser-broker.log")
    steps_of_plan = [step for step in found if "plan.pb" in step or step.endswith("/netfilter")]
    assert {"write.sync/plan.pb.new", "rename/plan.pb", "folder.synced/netfilter"} <= set(steps_of_plan), found
    for step in steps_of_plan:
        start_broker_anew(world, failpoints.at(step))
        failpoints.dies(world.vm.broker, step, timeout=30)
        world.vm.start_broker()
        poll.until(f"in the mesh after {step}", lambda: is_well(world), timeout=30)
    in_the_mesh(world)


@pytest.mark.parametrize("step", ["rename/*.json", "folder.synced/boot", "folder.synced/run"])
def test_the_broker_dies_while_it_starts_a_proxy(world, step):
    start_broker_anew(world, failpoints.at(step), with_proxy=False)
    failpoints.dies(world.vm.broker, step, timeout=30)
    world.vm.start_broker()
    poll.until(f"in the mesh after {step}", lambda: is_well(world), timeout=45)
    in_the_mesh(world)
    envoys = world.host.run(["pgrep", "-c", "-u", str(facts.UID_PROXY), "-x", "envoy"]).stdout.strip()
    assert envoys == "1", f"{envoys} proxies run"


def test_no_space_for_what_is_in_force_already_changes_nothing(world):
    """The broker comes back on a full disk: what hawserd brings is what was confirmed, and needs no space."""
    before = len((world.host.log_dir / "hawser-broker.log").read_text(errors="replace"))
    start_broker_anew(world, failpoints.fail("write.data/plan.pb.new"))

    def log() -> str:
        return (world.host.log_dir / "hawser-broker.log").read_text(errors="replace")[before:]

    poll.until("confirmed", lambda: "interception confirmed" in log(), 20)
    poll.until("in the mesh", lambda: is_well(world), 20)
    assert "can't be recorded" in log() and "No space left" in log(), log()
    start_broker_anew(world)
    poll.until("in the mesh", lambda: is_well(world), 30)


def test_leaves_without_a_trace(world):
    steps.leave(world)
