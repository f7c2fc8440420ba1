# SPDX-License-Identifier: Apache-2.0
"""A host whose identity a SPIFFE agent keeps: found, followed, waited for."""

from __future__ import annotations

import pathlib
import shutil
import tempfile

import pytest
from cryptography import x509

from lab import facts, handshake, poll, steps, workload_api

pytestmark = pytest.mark.incremental


class Scene:
    """The agent runs in the test's own process; hosts see its folder, which is none of those that they have for themselves."""

    agent: workload_api.Agent | None = None

    def __init__(self) -> None:
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="spire-"))
        self.folder.chmod(0o755)
        self.socket = self.folder / "agent.sock"

    def start(self) -> None:
        self.agent = workload_api.Agent(str(self.socket))
        self.socket.chmod(0o777)

    def stop(self) -> None:
        if self.agent:
            self.agent.close()
        self.agent = None
        self.socket.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def spire(world):
    scene = Scene()
    yield scene
    scene.stop()
    shutil.rmtree(scene.folder)


def serial_of(identity) -> int:
    return x509.load_pem_x509_certificates(identity.chain.encode())[0].serial_number


def identity_item(world) -> dict:
    return next(item for item in world.vm.status()["items"] if item["name"] == "identity")


def until_told(world, error: str) -> dict:
    return poll.until(
        f"status tells {error}", lambda: identity_item(world) if identity_item(world).get("id") == error else None, 40
    )


def test_an_agent_that_is_not_there_is_named(world, spire):
    world.vm.join(world.bundle, "ca.type=spiffe", f"ca.socket=unix://{spire.socket}")
    told = until_told(world, "HWS-CA-030")
    assert str(spire.socket) in told["detail"], told


def test_without_a_registration_entry_it_says_how_to_make_one(world, spire):
    spire.start()
    told = until_told(world, "HWS-CA-031")
    assert f"unix:uid:{facts.UID_AGENT}" in told["fix"], told


def test_somebody_elses_identity_is_not_taken(world, spire):
    spire.agent.offer(workload_api.svid(world.plane.issue(facts.OTHER_SA)))
    told = until_told(world, "HWS-CA-032")
    assert facts.spiffe(facts.OTHER_SA) in told["detail"] and facts.spiffe(facts.VM_SA) in told["detail"], told


def test_of_several_its_own_is_taken(world, spire):
    mine = world.plane.issue(facts.VM_SA)
    other = workload_api.svid(world.plane.issue(facts.OTHER_SA), hint="first")
    spire.agent.offer(other, workload_api.svid(mine))
    world.vm.wait("REGISTERED")
    assert int(world.vm.cert()["serial"], 16) == serial_of(mine)
    steps.outbound(world)
    steps.inbound(world)
    assert world.host.run(["find", "/var/lib/hawser/identity", "-name", "*.pem"]).stdout == ""


def test_what_the_agent_renews_is_taken_under_traffic(world, spire):
    with world.traffic() as traffic:
        traffic.more(20)
        for _ in range(3):
            identity = world.plane.issue(facts.VM_SA)
            spire.agent.offer(workload_api.svid(identity))
            poll.until("Envoy presents the new one", lambda: handshake.serial(world) == serial_of(identity), 10)
            traffic.more(20)
        traffic.finish()


def test_while_the_agent_is_away_the_last_identity_serves(world, spire):
    before = world.vm.cert()["serial"]
    spire.stop()
    steps.outbound(world)
    assert world.vm.cert()["serial"] == before
    spire.start()
    identity = world.plane.issue(facts.VM_SA)
    spire.agent.offer(workload_api.svid(identity))
    poll.until("the agent is found again", lambda: handshake.serial(world) == serial_of(identity), 60)
