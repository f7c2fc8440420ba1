# SPDX-License-Identifier: Apache-2.0
"""What the units promise: sandbox, watchdog, restarts without an end, journal."""

from __future__ import annotations

import json
import re

import pytest

from lab import poll, steps
from system import hawser, scene

pytestmark = pytest.mark.incremental
LIMITS = {"hawser.service": 1.5, "hawser-broker.service": 2.2}
PROXY_LIMIT = 1.4


def exposure(machine, unit: str) -> float:
    text = machine.run(["systemd-analyze", "security", "--no-pager", unit], timeout=20).stdout
    return float(re.search(r"Overall exposure level for \S+: ([\d.]+)", text).group(1))


def test_systemd_finds_nothing_wrong_in_the_units(world):
    paths = world.host.run(["sh", "-c", "ls /lib/systemd/system/hawser*"]).stdout.split()
    done = world.host.run(["systemd-analyze", "verify", "--man=no", *paths], check=False, timeout=30)
    assert done.returncode == 0 and "hawser" not in done.stderr, done.stderr


@pytest.mark.parametrize("unit", LIMITS)
def test_a_service_is_hardened(world, unit):
    assert exposure(world.host, unit) <= LIMITS[unit]


def test_the_proxy_is_hardened(world):
    steps.join(world)
    (unit,) = world.vm.proxy_units()
    assert exposure(world.host, unit) <= PROXY_LIMIT


@pytest.mark.parametrize("unit", hawser.SERVICES)
def test_a_service_says_when_it_is_ready_and_how_it_is(world, unit):
    shown = world.host.unit(unit)
    assert shown["Type"] == "notify" and shown["StatusText"], shown["StatusText"]
    assert shown["StartLimitIntervalUSec"] == "0"


@pytest.mark.parametrize("unit", hawser.SERVICES)
def test_a_hung_program_is_replaced(world, unit):
    before = world.host.unit(unit)
    assert before["WatchdogUSec"] not in ("0", "infinity")
    world.host.write(f"/run/systemd/system/{unit}.d/test.conf", "[Service]\nWatchdogSec=5s\nTimeoutAbortSec=5s\n")
    world.host.systemctl("daemon-reload")
    world.host.systemctl("restart", unit)
    world.vm.ready()
    pid = world.vm.main_pid(unit)
    # petted, it lives for longer than the watchdog's time
    petted = world.host.unit(unit)["WatchdogTimestampMonotonic"]
    poll.until("it pets its watchdog", lambda: world.host.unit(unit)["WatchdogTimestampMonotonic"] != petted, 10)
    proxy = world.vm.proxy_pid()
    world.host.run(["kill", "-STOP", str(pid)])
    poll.until("systemd replaced it", lambda: world.vm.main_pid(unit) not in (0, pid), 30, every=0.1)
    world.host.run(["rm", "-r", f"/run/systemd/system/{unit}.d"])
    world.host.systemctl("daemon-reload")
    world.host.systemctl("restart", unit)
    world.vm.ready()
    assert world.vm.proxy_pid() == proxy


@pytest.mark.parametrize("unit", hawser.SERVICES)
def test_systemd_never_gives_up(world, unit):
    """systemd's default is five starts within ten seconds, then never again."""
    for _ in range(8):
        world.vm.kill(unit)
    world.vm.ready()
    assert world.host.systemctl("--failed", "--no-legend", "--plain") == ""


def backend(world) -> str:
    seen = json.loads(world.vm.cli("intercept", "status", "--json").stdout)
    return seen["backend"] if seen["state"] == "active" else seen["state"]


def test_a_file_chooses_the_backend(world):
    assert backend(world) == "nftables"
    world.host.write("/etc/hawser/broker.env", "HAWSER_BACKEND=xtables\n")
    try:
        world.host.systemctl("restart", "hawser-broker.service")
        poll.until("it's xtables", lambda: backend(world) == "xtables", 20)
        poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
    finally:
        world.host.run(["rm", "/etc/hawser/broker.env"])
        world.host.systemctl("restart", "hawser-broker.service")
    world.vm.ready()
    poll.until("it's what the kernel has", lambda: backend(world) == "nftables", 20)


def test_the_journal_has_levels_and_fields(world):
    for unit in hawser.SERVICES:
        lines = world.host.journal(unit, options=["-o", "json"]).splitlines()
        own = [entry for entry in map(json.loads, lines) if entry.get("_COMM", "").startswith("hawser")]
        assert own, f"{unit} wrote nothing"
        for entry in own:
            assert entry["PRIORITY"] in "01234567" and "HAWSER_COMPONENT" in entry, entry
            # neither a level in the text nor a time of our own, which journald adds
            assert not re.match(r"<\d>|\d{4}-\d\d-\d\d|(info|warning|error)\b", entry["MESSAGE"]), entry["MESSAGE"]


def test_the_proxys_log_is_found_by_its_unit_and_its_generation(world):
    (unit,) = world.vm.proxy_units()
    lines = world.host.journal(unit, options=["-o", "json"]).splitlines()
    generations = {entry["HAWSER_GENERATION"] for entry in map(json.loads, lines) if entry.get("_UID") != "0"}
    assert generations == {unit.removeprefix("hawser-proxy-").removesuffix(".service")}, lines[:3]


def test_still_in_the_mesh(world):
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
