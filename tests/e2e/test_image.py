# SPDX-License-Identifier: Apache-2.0
"""A disk that hosts are cloned from: what is one host's own goes, and a copy that was made without asking is noticed."""

from __future__ import annotations

import json

import pytest

from lab import facts, poll, steps

pytestmark = pytest.mark.incremental
INSTANCE = "/var/lib/cloud/data/instance-id"


def verify(world) -> dict:
    done = world.vm.cli("image", "verify", "--json", check=False)
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["clean"] else 1)
    return told


def own_files(world) -> list[str]:
    return verify(world)["files"]


def set_instance(world, name: str) -> None:
    # the host's /var/lib is its own, with links to the machine's folders: one of those mustn't be written into
    world.host.run(["sh", "-c", "[ ! -L /var/lib/cloud ] || rm /var/lib/cloud; mkdir -p /var/lib/cloud/data"])
    world.host.write(INSTANCE, f"{name}\n")


def test_a_fresh_host_has_nothing_of_its_own(world):
    assert own_files(world) == []
    set_instance(world, "vm-1")
    steps.join(world)


def test_a_joined_host_is_no_image_and_says_why(world):
    files = own_files(world)
    assert any(path.endswith("/key.pem") for path in files) and "/var/lib/hawser/identity/token" in files
    assert "FAIL /var/lib/hawser/identity/token is of one host" in world.vm.cli("image", "verify", check=False).stdout
    assert not [path for path in files if "/proxy/bin/" in path]


def test_who_may_not_look_is_not_told_that_it_is_clean(world):
    done = world.vm.cli("image", "verify", check=False, uid=facts.UID_APP, gid=facts.GID_APP)
    assert done.returncode == 77 and "HWS-CLI-010" in done.stderr and "ok" not in done.stdout, done


def test_nothing_is_taken_from_a_running_hawserd(world):
    before = own_files(world)
    done = world.vm.cli("image", "prepare", check=False)
    assert "HWS-CLI-011" in done.stderr and len(done.stderr.strip().splitlines()) == 1, done
    assert own_files(world) == before


def test_a_restart_on_the_same_machine_keeps_the_identity(world):
    old = world.vm.cert()["serial"]
    world.vm.stop_agent()
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=30)
    assert world.vm.cert()["serial"] == old


def test_a_copy_is_noticed_and_gets_an_identity_of_its_own(world):
    old = world.vm.cert()["serial"]
    world.vm.stop_agent()
    set_instance(world, "vm-2")
    world.vm.start_agent()
    world.vm.wait("REGISTERED", timeout=30)
    assert world.vm.cert()["serial"] != old
    log = (world.host.log_dir / "hawserd.log").read_text()
    assert "HWS-ID-013" in log and "is a copy of the one" in log
    steps.outbound(world)


def test_an_image_is_made_clean_and_proven_so(world):
    world.vm.leave()
    world.vm.join(world.bundle)
    world.vm.wait("REGISTERED", timeout=30)
    world.vm.stop_agent()
    done = world.vm.cli("image", "prepare")
    assert "removed /var/lib/hawser/identity/token" in done.stdout
    assert own_files(world) == []
    binaries = world.host.run(["ls", "/var/lib/hawser/proxy/bin"]).stdout.split()
    assert binaries, "the proxy's binary is the same on each host"


def test_a_host_made_of_it_says_what_it_lacks(world):
    world.vm.start_agent()
    items = poll.until("it asks for a token", lambda: lacking(world), timeout=20)
    assert "hawser identity prove" in json.dumps(items), items


def lacking(world) -> dict | None:
    found = next((item for item in world.vm.status()["items"] if item["name"] == "identity"), {})
    return found if found.get("id") == "HWS-ID-020" else None
