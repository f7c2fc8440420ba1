# SPDX-License-Identifier: Apache-2.0
"""The harness keeps its word: what a boot keeps and what it loses, and that nothing of a machine stays behind."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from lab import facts, poll
from lab.host import HostError
from lab.network import Lab
from system import image, machine

HELD = """
import sys
from lab.network import Lab
from system import image
from system.machine import Machine
with Lab() as lab:
    vm = Machine(lab, "vm", image.root_for(None), "10.77.0.20", "fd77::20")
    vm.boot()
    print(vm.pid, vm._cgroup, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["reboot", "power_cycle"])
def test_a_boot_keeps_files_and_loses_what_the_kernel_had(how):
    with Lab() as lab:
        outside = lab.add_host("outside", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        vm = machine.Machine(lab, "vm", image.root_for(None), facts.VM_IP, facts.VM_IP6)
        with pytest.raises(HostError):
            vm.run(["true"])
        vm.boot()
        assert vm.systemctl("--failed", "--no-legend", "--plain") == ""
        first = vm.read("/proc/sys/kernel/random/boot_id"), vm.pid
        vm.write("/root/kept", "1")
        vm.run(["nft", "add table inet lost"])
        vm.popen(["sleep", "1000"])
        getattr(vm, how)()
        assert vm.pid != first[1]
        assert vm.read("/root/kept") == "1"
        assert vm.run(["nft", "list", "tables"]).stdout == ""
        assert len(vm.run(["journalctl", "--list-boots", "-q", "--no-pager"]).stdout.splitlines()) == 2
        poll.until("it is reached by its neighbours at once", lambda: outside.tcp(facts.VM_IP, 22), 3)
        assert not (image.root_for(None) / "root/kept").exists(), "the image was written to"


def test_nothing_stays_when_the_tests_are_killed():
    tests = pathlib.Path(__file__).resolve().parents[1]
    argv = [sys.executable, "-c", HELD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=tests, env={**os.environ, "PYTHONPATH": str(tests)}, text=True, **pipes) as owner:
        try:
            pid, cgroup = owner.stdout.readline().split()
            assert (pathlib.Path(cgroup) / "payload").is_dir()
        finally:
            owner.kill()
    poll.until("its PID 1 is gone", lambda: not os.path.exists(f"/proc/{pid}"), 10)
    poll.until("its processes are gone", lambda: _empty(pathlib.Path(cgroup)), 10)
    with Lab() as lab:  # the next one tidies up
        machine.Machine(lab, "vm", image.root_for(None), facts.VM_IP, facts.VM_IP6)
    assert not os.path.exists(cgroup)


def _empty(cgroup: pathlib.Path) -> bool:
    return "populated 0" in (cgroup / "cgroup.events").read_text()
