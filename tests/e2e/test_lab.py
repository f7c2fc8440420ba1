# SPDX-License-Identifier: Apache-2.0
"""The lab itself: its hosts are apart from the machine and from each other, and nothing of it outlives its owner."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

from lab import facts, layout, network, poll, services
from lab.host import HostError
from lab.network import Lab


@pytest.fixture
def lab():
    with Lab() as made:
        yield made


@pytest.fixture
def pair(lab):
    return lab.add_host("vm", facts.VM_IP, facts.VM_IP6), lab.add_host("outside", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)


def _machine() -> dict[str, object]:
    """What the lab must not change on the machine."""
    run = lambda *argv: subprocess.run(argv, capture_output=True, text=True, check=True).stdout  # noqa: E731
    return {
        "mounts": pathlib.Path("/proc/self/mountinfo").read_text(),
        "links": run("ip", "-o", "link"),
        "addresses": run("ip", "-o", "addr"),
        "routes": run("ip", "route"),
        "hosts": pathlib.Path("/etc/hosts").read_text(),
        "shm": sorted(os.listdir("/dev/shm")),
        "run": sorted(os.listdir("/run")),
        "netns": sorted(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else [],
        "hawser": [path for path in ("/etc/hawser", "/var/lib/hawser", "/run/lab") if os.path.exists(path)],
    }


def test_a_host_has_its_own_files_processes_and_interfaces(pair):
    vm, outside = pair
    vm.write("/run/hawser/x", "in the vm", mode=0o640, gid=facts.GID_APP)
    assert vm.read("/run/hawser/x") == "in the vm"
    assert not outside.exists("/run/hawser/x")
    assert not os.path.exists("/run/hawser/x")
    assert vm.run(["stat", "-c", "%a %u:%g", "/run/hawser/x"]).stdout == f"640 0:{facts.GID_APP}\n"
    vm.add_name(facts.REVIEWS_VIP, facts.REVIEWS_HOST)
    assert facts.REVIEWS_VIP in vm.run(["getent", "hosts", facts.REVIEWS_HOST]).stdout
    assert facts.REVIEWS_HOST not in outside.read("/etc/hosts")
    assert len([name for name in vm.run(["ls", "/proc"]).stdout.split() if name.isdigit()]) == 2  # init and ls
    assert vm.run(["ip", "-br", "link"]).stdout.count("\n") == 2  # lo and eth0


def test_hosts_reach_each_other_over_both_families_and_nothing_else(pair):
    vm, outside = pair
    services.start_banner_server(outside)
    for address in (facts.OUTSIDE_IP, facts.OUTSIDE_IP6):
        ours, seen = services.banner(vm, address, 22)
        assert ours == seen
    assert not vm.tcp(facts.REVIEWS_VIP, facts.REVIEWS_PORT)
    assert not outside.tcp(facts.VM_IP, 22)


def test_a_program_gets_exactly_the_rights_that_are_asked_for(pair):
    vm, _ = pair
    status = vm.run(["cat", "/proc/self/status"], uid=881, gid=881, groups=[883], caps=["net_admin"], no_new_privs=True)
    fields = dict(line.split(":\t", 1) for line in status.stdout.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["881"] * 4
    assert fields["Gid"].split() == ["881"] * 4
    assert fields["Groups"].split() == ["883"]
    assert fields["CapBnd"] == f"{1 << 12:016x}"
    assert (fields["CapEff"], fields["NoNewPrivs"]) == (f"{0:016x}", "1")


def test_a_command_that_fails_or_hangs_says_so(pair):
    vm, _ = pair
    with pytest.raises(HostError, match="vm: `sh -c echo no >&2; exit 3` ended with 3: no"):
        vm.run(["sh", "-c", "echo no >&2; exit 3"])
    with pytest.raises(HostError, match="didn't end in 0.2 s"):
        vm.run(["sh", "-c", "sleep 60 & wait"], timeout=0.2)
    assert vm.run(["false"], check=False).returncode == 1


def test_load_counts_what_fails(pair):
    vm, outside = pair
    app = services.start_http_app(outside, "app", f"{facts.OUTSIDE_IP}:8080", f"[{facts.OUTSIDE_IP6}]:8080")
    load = services.Load(vm, "x", f"http://{facts.OUTSIDE_IP}:8080/load", f"http://[{facts.OUTSIDE_IP6}]:8080/load")
    load.more(10)
    assert load.report().failed == 0
    outside.stop(app)
    load.more(5)
    report = load.stop()
    assert report.failed > 0
    assert report.failures[0]["error"]
    assert report.sent > report.failed


def test_two_labs_at_once_dont_meet(pair):
    vm, _ = pair
    with Lab() as other:
        twin = other.add_host("vm", facts.VM_IP, facts.VM_IP6)
        services.start_banner_server(twin)
        assert twin.tcp(facts.VM_IP, 22)
        assert not vm.tcp(facts.VM_IP, 22)


def test_the_machine_is_left_as_it_was():
    before = _machine()
    with Lab() as lab:
        vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        services.start_vm_app(vm)
        vm.run(["nft", "add", "table", "inet", "x"])
        vm.write("/dev/shm/x", "x")
        directory = lab.directory
        during = _machine()
    assert during == before
    assert _machine() == before
    assert not directory.exists()


OWNER = textwrap.dedent(
    """
    import signal, sys, time
    from lab import facts, services
    from lab.network import Lab
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born ignoring it
    with Lab() as lab:
        vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        services.start_vm_app(vm)
        daemon = vm.popen(["sh", "-c", "setsid sh -c 'setsid sleep 1000 &' &"])
        print(vm.pid, lab.directory, flush=True)
        if sys.argv[1] == "raise":
            raise RuntimeError("a test failed")
        time.sleep(1000)
    """
)


@pytest.mark.parametrize("end", ["raise", "SIGINT", "SIGTERM", "SIGKILL"])
def test_nothing_outlives_its_owner(end):
    before = _machine()
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, end],
        cwd=layout.REPO / "tests",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    pid, directory = owner.stdout.readline().split()
    namespace = _namespace(pid) if end != "raise" else None
    if end != "raise":
        poll.until("init, the app and the orphaned sleeper run", lambda: len(_members(namespace)) >= 3)
        owner.send_signal(getattr(signal, end))
    owner.wait(10)
    if namespace:
        poll.until("all processes of the host are gone", lambda: not _members(namespace), 5)
    if end == "SIGKILL":
        Lab().close()  # the next lab removes the folders of the dead
    assert not os.path.exists(directory)
    assert _machine() == before
    assert network.WORK_ROOT.is_dir()


def _namespace(pid: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def _members(namespace: str) -> list[str]:
    members = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if _namespace(pid) == namespace:
                members.append(pid)
        except OSError:
            pass
    return members
