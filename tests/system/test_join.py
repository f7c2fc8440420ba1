# SPDX-License-Identifier: Apache-2.0
"""The demo's steps on a booted Debian, then the package goes and comes back while the host is in the mesh."""

from __future__ import annotations

import re

import pytest

from lab import facts, poll, services, steps
from system import hawser, scene

pytestmark = pytest.mark.incremental


def test_joins_from_the_bundle(world):
    steps.join(world)


def test_an_ordinary_client_reaches_reviews(world):
    steps.outbound(world)


def test_reviews_calls_the_vm_and_others_are_refused(world):
    steps.inbound(world)


def test_the_rules_count_what_they_capture(world):
    def packets() -> int:
        return sum(map(int, re.findall(r"packets (\d+)", world.host.run(["nft", "list", "ruleset"]).stdout)))

    before = packets()
    assert scene.in_mesh(world)
    assert packets() > before, world.host.run(["nft", "list", "ruleset"]).stdout


def test_an_operator_logs_in_by_ssh(world):
    world.assert_ssh_is_direct()
    steps.ssh(world)


def test_the_proxy_is_a_unit_of_its_own_user(world):
    units = world.vm.proxy_units()
    assert len(units) == 1, units
    shown = world.host.unit(units[0])
    assert shown["Slice"] == "hawser.slice" and int(shown["MainPID"]) == world.vm.proxy_pid()
    owner = world.host.run(["ps", "-o", "user=", "-p", shown["MainPID"]]).stdout.strip()
    assert owner == "hawser-proxy"


def test_the_certificate_is_rotated_under_load(world):
    steps.renewal(world)


def test_removing_the_package_takes_the_rules_out(world):
    world.host.dpkg("--remove", "hawser")
    poll.until("no process is left", lambda: not hawser.processes(world.host))
    hawser.vm_is_plain(world.host, world.outside)
    assert not hawser.intercepted(world.host)
    world.assert_ssh_is_direct()
    steps.ssh(world)


def test_installed_again_it_is_in_the_mesh_again(world):
    world.host.install(world.deb)
    world.vm.ready()
    poll.until("in the mesh", lambda: scene.in_mesh(world), 20)
    # reviews' proxy kept connections to the proxy that the removal ended; it notices when it uses one
    poll.until("kept connections, too", lambda: steps._ok(world, world.reviews.POOLED), 20)


def test_an_installation_over_itself_is_no_gap(world):
    proxy = world.vm.proxy_pid()
    with world.traffic() as traffic:
        traffic.more(20)
        world.host.install(world.deb)
        world.vm.ready()
        traffic.more(20)
        traffic.finish()
    assert world.vm.proxy_pid() == proxy


def test_leaves_without_a_trace(world):
    world.vm.leave()
    hawser.assert_equal(world.before, world.vm.snapshot, "after `hawser leave` the host isn't as before the join")
    hawser.vm_is_plain(world.host, world.outside)
    assert world.vm.status()["state"] == "not_joined"


def test_purging_leaves_the_host_as_it_was_before_the_package(world):
    world.host.dpkg("--purge", "hawser")
    hawser.assert_equal(world.plain, world.vm.snapshot, "after the purge the host isn't as before the installation")
    plain = services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/")
    assert plain.status == 200
    steps.ssh(world)
