# SPDX-License-Identifier: Apache-2.0
"""Certificates of a minute under traffic; a host that was off past the end of everything, and what brings it back."""

from __future__ import annotations

import datetime
import os
import pathlib

import pytest

from lab import facts, handshake, poll, rotation, services

pytestmark = pytest.mark.incremental
SECONDS = 90


def item(world, name: str) -> dict:
    return next((i for i in world.vm.status()["items"] if i["name"] == name), {})


def test_nobody_notices_that_certificates_of_a_minute_change(world):
    world.vm.join(world.bundle, *rotation.JOIN)
    world.vm.wait("REGISTERED")
    seen = rotation.watch(world, SECONDS)
    # each at half its life at the latest, the first one earlier perhaps
    assert len(seen.serials) >= 3, seen
    assert len(set(seen.serials)) == len(seen.serials), "a certificate came back"
    assert seen.least_left > 15, seen
    assert seen.requests > 100, seen


def test_the_keys_are_in_no_core_file_and_out_of_our_users_reach(world):
    pid = world.vm.agent.pid
    assert os.stat(f"/proc/{pid}/mem").st_uid == 0, "hawserd can be dumped, and read by other processes of its user"
    read = world.host.run(["cat", f"/proc/{pid}/environ"], uid=facts.UID_AGENT, check=False)
    assert read.returncode != 0, read
    flags = [line for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines() if line.startswith("VmFlags")]
    assert any(" dd" in line for line in flags), "no memory is left out of dumps"


def test_a_restart_keeps_the_plan(world):
    world.plane.faults(csr_ttl=24 * 3600.0)
    world.vm.renew()
    planned = world.vm.cert()["next_renewal"]
    world.vm.restart_agent()
    world.vm.wait("REGISTERED")
    assert world.vm.cert()["next_renewal"] == planned


def test_off_past_the_end_of_everything_it_says_exactly_what_to_do(world):
    """The certificate ends while hawserd is away, and the token was good for a moment only."""
    world.plane.faults(csr_ttl=5.0)
    world.vm.renew()
    world.vm.stop_agent()
    ends = datetime.datetime.fromisoformat(stored_end(world))
    poll.until("the certificate ends", lambda: datetime.datetime.now(datetime.timezone.utc) > ends, 10)
    world.plane.reset_faults()
    world.host.write("/var/lib/hawser/identity/token", world.plane.token(ttl=-60))
    world.vm.start_agent()
    found = poll.until("the end of everything is told", lambda: dead_end(world), 20)
    assert "nothing is left that proves who this host is: the certificate ended at " in found["detail"], found
    assert f"kubectl create token {facts.VM_SA} -n {facts.NAMESPACE} --audience istio-ca" in found["fix"], found
    assert "hawser identity prove" in found["fix"], found
    assert "HWS-ID-022" in (world.host.log_dir / "hawserd.log").read_text()


def dead_end(world) -> dict | None:
    found = item(world, "identity")
    return found if found.get("id") == "HWS-ID-022" else None


def stored_end(world) -> str:
    done = world.host.run(
        ["openssl", "x509", "-in", "/var/lib/hawser/identity/current/cert-chain.pem", "-noout", "-enddate", "-dateopt", "iso_8601"]
    )
    return done.stdout.strip().removeprefix("notAfter=").replace("Z", "+00:00")


def test_a_new_token_is_all_it_needs(world):
    done = world.vm.cli("identity", "prove", "--token-file", "-", input=world.plane.token(ttl=600))
    assert "certificate until" in done.stdout, done
    world.vm.wait("REGISTERED", timeout=30)
    serial = int(world.vm.cert()["serial"], 16)
    poll.until("Envoy presents it", lambda: handshake.serial(world) == serial, 10)
    assert services.curl(world.host, f"http://{facts.REVIEWS_HOST}/").status == 200
