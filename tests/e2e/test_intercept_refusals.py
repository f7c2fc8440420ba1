# SPDX-License-Identifier: Apache-2.0
"""What interception can't be: the real command refuses it in one line, with place, cause, fix and id, and prints no plan."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import typing

import pytest

from lab import facts, layout

BADCONFIG = 78
USERS = f"users: {{agent: {facts.UID_AGENT}, proxy: {facts.UID_PROXY}}}\n"
MANY = 16385  # networks in one list are 16384 at most
LINE = re.compile(r"hawser: (?P<place>\S+): (?P<what>.+) \(fix: (?P<fix>.+)\) \[(?P<id>HWS-[A-Z]+-\d{3})\]\n")


def networks(count: int) -> str:
    return ", ".join(f"10.{i >> 8}.{i & 255}.0/24" for i in range(count))


# What stands under interception:, in the file's second line, the column of what is wrong, words of the cause, and the id.
REFUSED = {
    "CIDR with a long prefix": ("outbound: {cidrs: [10.0.0.0/33]}", 35, "has a bad prefix length", "HWS-CF-004"),
    "IPv6 CIDR with a long prefix": ("outbound: {cidrs: ['fd00::/129']}", 35, "has a bad prefix length", "HWS-CF-004"),
    "name as CIDR": ("outbound: {exclude_cidrs: [corp.example]}", 43, "is not an address or CIDR", "HWS-CF-004"),
    "port 0": ("inbound: {ports: [0]}", 34, "'0' is not a port", "HWS-CF-004"),
    "port 70000": ("outbound: {exclude_ports: [70000]}", 43, "'70000' is not a port", "HWS-CF-004"),
    "port 0 of DNS": ("dns: {port: 0}", 28, "'0' is not a port", "HWS-CF-004"),
    "port 70000 of HBONE": ("hbone_port: 70000", 28, "'70000' is not a number from 0 to 65535", "HWS-CF-004"),
    "inverted range": ("outbound: {ports: [90-80]}", 35, "'90-80' is inverted", "HWS-CF-004"),
    "unknown user": ("exempt: {users: [no-such-user]}", 33, "user 'no-such-user' doesn't exist", "HWS-CF-006"),
    "unknown group": ("groups: {include: [no-such-group]}", 35, "group 'no-such-group' doesn't", "HWS-CF-006"),
    "unknown user of ports": ("user_ports: [{users: [no-such-user]}]", 38, "'no-such-user' doesn't exist", "HWS-CF-006"),
    "inverted range of users": ("exempt: {users: [4010-4001]}", 33, "range of users '4010-4001'", "HWS-CF-004"),
    "users beyond all": ("user_ports: [{users: [1-4294967295]}]", 38, "is no range of users", "HWS-CF-004"),
    "ports excluded for nobody": ("user_ports: [{ports: [80]}]", 29, "users: is missing", "HWS-CF-005"),
    "port twice": ("inbound: {ports: [80, 80]}", 38, "'80' is there already", "HWS-CF-004"),
    "network twice": ("outbound: {cidrs: [10.0.0.0/8, 10.1.0.0/8]}", 47, "is there already", "HWS-CF-004"),
    "user twice": ("exempt: {users: ['700', '700']}", 40, "'700' is there already", "HWS-CF-004"),
    "mark twice": ("exempt: {marks: [7, 0x7]}", 36, "'0x7' is there already", "HWS-CF-004"),
    "interface twice": ("exclude_interfaces: [eth0, eth0]", 43, "'eth0' is there already", "HWS-CF-004"),
    "key twice": ("outbound: {ports: [80], ports: [443]}", 40, "outbound.ports is there already", "HWS-CF-004"),
    "port in and out": ("inbound: {ports: [80], exclude: [80]}", 49, "included and excluded", "HWS-CF-004"),
    "network in and out": (
        "outbound: {cidrs: [10.0.0.0/8], exclude_cidrs: [10.0.0.0/8]}", 64, "included and excluded", "HWS-CF-004"
    ),
    "group in and out": ("groups: {include: ['5'], exclude: ['5']}", 51, "included and excluded", "HWS-CF-004"),
    "all, and services": ("inbound: {ports: all, services: [{name: a, ports: [1]}]}", 48, "says all", "HWS-CF-004"),
    "service without ports": ("inbound: {services: [{name: a}]}", 37, "ports: is missing", "HWS-CF-005"),
    "service twice": (
        "inbound: {services: [{name: a, ports: [1]}, {name: a, ports: [2]}]}", 67, "'a' is there", "HWS-CF-004"
    ),
    "long interface": ("exclude_interfaces: [averyveryverylongname0]", 37, "is too long", "HWS-NF-030"),
    "interface that is none": ("exclude_interfaces: ['eth 0']", 37, "is no interface name", "HWS-NF-030"),
    "mark 0": ("exempt: {marks: [0]}", 33, "mark 0", "HWS-NF-032"),
    "mark outside its mask": ("exempt: {marks: [0x101/0xf00]}", 33, "has bits", "HWS-NF-032"),
    "cgroup as a path": ("exempt: {cgroups: [/system.slice]}", 35, "is no path of a cgroup", "HWS-NF-031"),
    "the system's own table": ("inbound: {tproxy: {table: 254}}", 42, "is the system's own", "HWS-NF-033"),
    "unknown mode": ("inbound: {mode: transparent}", 32, "is not one of redirect, tproxy", "HWS-CF-004"),
    "not true or false": ("self_call: perhaps", 27, "is not true or false", "HWS-CF-004"),
    "resolver by name": ("dns: {resolvers: [dns.corp]}", 34, "is not an IP address", "HWS-CF-004"),
    "the proxy's own port": ("hbone_port: 15006", 28, "is the proxy's own", "HWS-CF-004"),
    "unknown key": ("outbound: {exclude_cidr: [10.0.0.0/8]}", 27, "unknown key", "HWS-CF-003"),
    "more networks than fit": (f"outbound: {{cidrs: [{networks(MANY)}]}}", None, "more than 16384", "HWS-CF-004"),
}


@pytest.fixture(scope="module")
def folder() -> typing.Iterator[str]:
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)  # pytest's own are for their owner alone
        yield path


def hawser(*words: str) -> subprocess.CompletedProcess:
    """As a user without any right: what is refused doesn't depend on who asks."""
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]
    program = layout.bin_dir() / "hawser"
    return subprocess.run([*nobody, program, *words], capture_output=True, text=True, timeout=20, check=False)


def written(folder: str, text: str) -> str:
    path = f"{folder}/hawser.yaml"
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    return path


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_in_one_line(folder, name):
    text, column, words, error_id = REFUSED[name]
    path = written(folder, f"{USERS}interception: {{{text}}}\n")
    for command in (
        ["intercept", "plan", "--config", path],
        ["intercept", "plan", "--format", "nft", "--config", path],
        ["intercept", "explain", "--out", "--dst", "192.0.2.1:80", "--config", path],
        ["config", "check", "--file", path],
    ):
        done = hawser(*command)
        assert (done.returncode, done.stdout) == (BADCONFIG, ""), done
        told = LINE.fullmatch(done.stderr)
        assert told, done.stderr
        if column is None:
            assert told["place"].startswith(f"{path}:2:"), done.stderr
        else:
            assert told["place"] == f"{path}:2:{column}", done.stderr
        assert words in told["what"] and told["id"] == error_id, done.stderr


def test_a_plan_that_captures_nothing_is_refused(folder):
    path = written(folder, f"{USERS}interception: {{inbound: {{enabled: false}}, outbound: {{enabled: false}}}}\n")
    done = hawser("intercept", "plan", "--config", path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (65, "", 1), done
    assert "nothing would be intercepted (fix:" in done.stderr and "HWS-NF-005" in done.stderr


def test_two_faults_are_two_lines(folder):
    path = written(folder, f"{USERS}interception:\n  outbound: {{ports: [0]}}\n  inbound: {{ports: [70000]}}\n")
    done = hawser("intercept", "plan", "--config", path)
    assert (done.returncode, done.stdout) == (BADCONFIG, "")
    assert sorted(f"{path}:{at}" in done.stderr for at in ("3:22", "4:21")) == [True, True], done.stderr
    assert done.stderr.count("\n") == done.stderr.count("(fix: ") == 2, done.stderr


def test_a_proxy_of_root_is_allowed_and_warned_about(folder):
    path = written(folder, f"users: {{agent: {facts.UID_AGENT}, proxy: root}}\n")
    done = hawser("intercept", "explain", "--out", "--dst", "192.0.2.1:80", "--uid", "0", "--config", path)
    assert done.returncode == 0 and "\nleft alone" in done.stdout, done
    assert done.stderr.startswith("hawser: warning: what root sends isn't intercepted"), done.stderr
    assert done.stderr.count("\n") == 1 and "give the proxy a user of its own" in done.stderr
