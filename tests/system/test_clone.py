# SPDX-License-Identifier: Apache-2.0
"""A copy of a joined machine's disk is another host, and an image has no host's identity."""

from __future__ import annotations

import json

import pytest

from lab import poll, steps

pytestmark = pytest.mark.incremental
OTHER = "0123456789abcdef0123456789abcdef"


def verify(world) -> dict:
    return json.loads(world.vm.cli("image", "verify", "--json", check=False).stdout)


def test_joins(world):
    steps.join(world)
    assert verify(world)["files"] and verify(world)["machine_id"]


def test_a_reboot_keeps_the_identity(world):
    old = world.vm.cert()["serial"]
    world.host.reboot()
    world.vm.ready()
    assert world.vm.cert()["serial"] == old


def test_a_copy_with_its_own_machine_id_enrols_as_itself(world):
    old = world.vm.cert()["serial"]
    world.host.write("/etc/machine-id", f"{OTHER}\n")
    world.host.reboot()
    world.vm.ready()
    assert world.vm.cert()["serial"] != old
    assert "is a copy of the one" in world.host.journal("hawser.service")
    steps.outbound(world)


def test_an_image_is_made_clean(world):
    running = world.vm.cli("image", "prepare", check=False)
    assert running.returncode != 0 and "HWS-CLI-011" in running.stderr
    units = ("hawser.service", "hawser-broker.service")
    sockets = world.host.systemctl("list-units", "--plain", "--no-legend", "--type=socket", "hawser-*").splitlines()
    world.host.systemctl("stop", *units, *(line.split()[0] for line in sockets))
    assert "hawser image prepare" in world.vm.cli("image", "verify", check=False).stdout
    world.vm.cli("image", "prepare")
    world.host.write("/etc/machine-id", "")
    assert verify(world) == {"clean": True, "machine_id": False, "files": []}


def test_a_host_made_of_it_has_no_identity_and_harms_nothing(world):
    world.host.reboot()
    assert world.host.read("/etc/machine-id").strip() not in ("", OTHER), "a first boot makes one"
    world.vm.start()
    lacking = poll.until("it says that it has no token", lambda: without_token(world), timeout=30)
    assert "hawser identity prove" in lacking["fix"], lacking
    world.assert_ssh_is_direct()


def without_token(world) -> dict | None:
    found = next((item for item in world.vm.status()["items"] if item["name"] == "identity"), {})
    return found if found.get("id") == "HWS-ID-020" else None
