# SPDX-License-Identifier: Apache-2.0
"""The package's life on a host that is in no mesh: installed, again, removed, purged. In order."""

from __future__ import annotations

import pytest

from lab import facts, poll, services
from system import hawser, image
from system.hawser import SystemHawser, look, network_of
from system.machine import Machine

pytestmark = pytest.mark.incremental


@pytest.fixture(scope="module")
def before(bare):
    return look(bare.machine)


def test_installing_changes_nothing_on_the_network(bare, before):
    bare.machine.install(hawser.package())
    SystemHawser(bare.machine).start()
    hawser.assert_equal(network_of(before), lambda: network_of(look(bare.machine)), "the installation changed")
    opened = [s for s in look(bare.machine)["listening sockets"] if s not in before["listening sockets"]]
    assert opened and all(s.startswith("unix /run/hawser/") for s in opened), opened
    plain = services.curl(bare.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/")
    assert plain.status == 200, plain


def test_both_programs_idle_and_say_so(bare):
    vm = SystemHawser(bare.machine)
    assert vm.status()["state"] == "not_joined"
    # `status` is open to all
    done = vm.cli("status", check=False, **services.AS_APP)
    assert "not" in done.stdout and "permission" not in done.stderr.lower(), done


def test_sockets_and_folders_have_their_owners(bare):
    paths = {
        "/run/hawser/xds.sock": "root:hawser-proxy 660",
        "/run/hawser/sds.sock": "root:hawser-proxy 660",
        "/run/hawser/admin.sock": "root:root 666",
        "/run/hawser/broker.sock": "root:hawser 660",
        "/run/hawser/proxy": "hawser-proxy:hawser 2750",
        "/var/lib/hawser/identity": "hawser:hawser 700",
        "/var/lib/hawser/supervisor": "hawser:hawser 700",
        "/var/lib/hawser/proxy/bin": "root:root 755",
        "/var/lib/hawser/proxy/boot": "root:hawser-proxy 2750",
        "/etc/hawser/hawser.yaml": "root:root 644",
    }
    listed = bare.machine.run(["stat", "-c", "%n %U:%G %a", *paths]).stdout.splitlines()
    assert listed == [f"{path} {owner}" for path, owner in paths.items()]


def test_the_conffile_is_valid(bare):
    done = bare.machine.run(["hawser", "config", "check"], check=False)
    assert done.returncode == 0, done


def test_units_are_enabled_and_nothing_failed(bare):
    for unit in (*hawser.SERVICES, *hawser.SOCKETS):
        state = bare.machine.unit(unit)
        assert (state["ActiveState"], state["UnitFileState"]) == ("active", "enabled"), (unit, state["ActiveState"])
    assert bare.machine.systemctl("--failed", "--no-legend", "--plain") == ""


def test_installing_again_keeps_running(bare):
    """An upgrade in small; a change that the operator made to the configuration stays."""
    path = "/etc/hawser/hawser.yaml"
    mine = bare.machine.read(path) + "# mine\n"
    bare.machine.write(path, mine)
    bare.machine.install(hawser.package())
    SystemHawser(bare.machine).start()
    assert bare.machine.read(path) == mine


def test_a_unit_that_was_disabled_stays_disabled(bare):
    bare.machine.systemctl("disable", "--quiet", "hawser.service")
    bare.machine.install(hawser.package())
    assert bare.machine.unit("hawser.service")["UnitFileState"] == "disabled"
    bare.machine.systemctl("enable", "--quiet", "hawser.service")


def test_removing_stops_everything_and_keeps_configuration_and_state(bare, before):
    bare.machine.dpkg("--remove", "hawser")
    poll.until("no process is left", lambda: not hawser.processes(bare.machine))
    assert bare.machine.exists("/etc/hawser/hawser.yaml") and bare.machine.exists("/var/lib/hawser/identity")
    assert not bare.machine.exists("/run/hawser")
    hawser.assert_equal(network_of(before), lambda: network_of(look(bare.machine)), "the removal left")


def test_after_removing_it_can_be_installed_again(bare):
    bare.machine.install(hawser.package())
    vm = SystemHawser(bare.machine)
    vm.start()
    assert vm.status()["state"] == "not_joined"
    assert bare.machine.unit("hawser.service")["UnitFileState"] == "enabled"


def test_purging_leaves_nothing(bare, before):
    bare.machine.dpkg("--purge", "hawser")
    hawser.assert_equal(before, lambda: look(bare.machine), "after the purge the system isn't as before")
    assert hawser.processes(bare.machine) == []


def test_purging_twice_or_after_removing_works(bare, before):
    bare.machine.install(hawser.package())
    bare.machine.dpkg("--remove", "hawser")
    bare.machine.dpkg("--purge", "hawser")
    hawser.assert_equal(before, lambda: look(bare.machine), "after remove and purge the system isn't as before")


def test_installs_into_an_image_without_a_running_systemd(bare):
    """As an image builder does it, in a chroot; the first boot then has it running."""
    machine = Machine(bare.lab, "second", image.root_for(hawser.package()), "10.77.0.40", "fd77::40")
    try:
        done = machine.install_offline(hawser.package())
        assert done.returncode == 0, done.stdout + done.stderr
        machine.boot()
        vm = SystemHawser(machine)
        vm.start()
        assert vm.status()["state"] == "not_joined"
    finally:
        machine.close()
