# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What programs of the host open, under either backend: who accepts it."""

from __future__ import annotations

import contextlib
import os

import pytest

from lab import facts
from lab import namespaces as ns
from lab.broker_wire import Refused, message
from lab.rule_scene import (  # noqa: F401 (fixtures)
    EXTRA_PEER,
    INBOUND,
    OUTBOUND,
    PEER,
    PEER6,
    VM,
    VM6,
    interface,
    nothing_left,
    owner,
    ports_of,
    scene,
)

BOTH = ((PEER, 80), (PEER6, 80))


def test_a_redirected_connection_tells_where_it_was_going(scene):
    scene.plan()
    for landed, (address, port) in zip(scene.land(*BOTH), BOTH):
        assert landed["port"] == OUTBOUND and landed["original"] == [address, port]


def test_several_users_and_groups_are_exempt_and_nobody_else(scene):
    """With several of them, the stock tool's rules never match but for the first."""
    scene.plan(exempt_uids=[1001, 1002], exempt_gids=[2001, 2002])
    for uid, gid in ((1001, 9), (1002, 9), (9, 2001), (9, 2002), (facts.UID_PROXY, 9), (9, facts.GID_AGENT)):
        assert scene.ports(*BOTH, uid=uid, gid=gid) == [80, 80], (uid, gid)
    assert scene.ports(*BOTH, uid=2001, gid=1001) == [OUTBOUND, OUTBOUND]


def test_ranges_of_users_are_exempt_with_both_ends(scene):
    ranges = [message("UidRange", first=4001, last=4010), message("UidRange", first=4010, last=4012)]
    ports = message("UserPorts", uid_ranges=[message("UidRange", first=5001, last=5002)], ports=ports_of(8080), protocol=1)
    scene.plan(exempt_uids=[4020], exempt_uid_ranges=ranges, user_ports=[ports])
    direct = {uid: scene.ports((PEER, 80), (PEER6, 80), uid=uid, gid=9) for uid in (4001, 4005, 4012, 4020)}
    assert set(map(tuple, direct.values())) == {(80, 80)}, direct
    captured = {uid: scene.ports((PEER, 80), (PEER6, 80), uid=uid, gid=9) for uid in (4000, 4013, 4021)}
    assert set(map(tuple, captured.values())) == {(OUTBOUND, OUTBOUND)}, captured
    for uid, lands in ((5000, OUTBOUND), (5001, 8080), (5002, 8080), (5003, OUTBOUND)):
        assert scene.ports((PEER, 8080), (PEER6, 80), uid=uid, gid=9) == [lands, OUTBOUND], uid
    with pytest.raises(Refused, match="range of users 7-6 is inverted.*HWS-NF-036"):
        scene.plan(exempt_uid_ranges=[message("UidRange", first=7, last=6)])


def test_a_mark_is_exempt_by_its_bits(scene):
    scene.plan(exempt_marks=[message("Mark", value=0x10, mask=0xF0), message("Mark", value=0x7000, mask=0xFFFFFFFF)])
    targets = [{"address": a, "port": 80, "mark": mark} for mark in (0x15, 0x7000, 0x25, 0x7010) for a in (PEER, PEER6)]
    assert scene.ports(*targets, uid=None) == [80, 80, 80, 80, OUTBOUND, OUTBOUND, 80, 80]
    assert scene.ports({"address": PEER, "port": 80, "mark": 0x7001}, uid=None) == [OUTBOUND]


@contextlib.contextmanager
def cgroups(host, *names: str):
    """cgroup v2 where the kernel's own programs look for it, in the host's mount namespace alone."""
    try:
        host.call(ns.mount, "cgroup2", "/sys/fs/cgroup", "cgroup2")
    except OSError as error:
        pytest.skip(f"no cgroup v2 here: {error}")
    try:
        for name in names:
            host.run(["mkdir", f"/sys/fs/cgroup/{name}"])
        yield
    finally:
        for name in reversed(names):
            host.run(["rmdir", f"/sys/fs/cgroup/{name}"], check=False)
        host.run(["umount", "/sys/fs/cgroup"])


def test_a_cgroup_is_exempt_with_those_below_it(scene):
    top = f"hawser-rules-{os.getpid()}"
    with cgroups(scene.vm, top, f"{top}/inner", f"{top}-other"):

        def within(name: str) -> list[str]:
            enter = f'echo $$ >/sys/fs/cgroup/{name}/cgroup.procs && exec "$@"'
            return ["sh", "-c", enter, "sh", "setpriv", "--reuid", "9"]

        scene.plan(exempt_cgroups=[top])
        for name in (top, f"{top}/inner"):
            assert scene.ports(*BOTH, uid=None, before=within(name)) == [80, 80], name
        assert scene.ports(*BOTH, uid=None, before=within(f"{top}-other")) == [OUTBOUND, OUTBOUND]
        scene.ask("remove")
        with pytest.raises(Refused, match="HWS-NF-051"):
            scene.plan(exempt_cgroups=[f"{top}/none.service"])


def test_groups_are_left_out_or_alone_in(scene):
    scene.plan(groups_exclude=[2001, 2002])
    assert [scene.ports((PEER, 80), uid=9, gid=gid) for gid in (2001, 2002, 2003)] == [[80], [80], [OUTBOUND]]
    scene.plan(groups_include=[2001, 2002])
    assert [scene.ports((PEER6, 80), uid=9, gid=gid) for gid in (2001, 2002, 2003)] == [[OUTBOUND], [OUTBOUND], [80]]


def test_a_users_ports_are_left_out_for_that_user(scene):
    tcp = message("UserPorts", uids=[1001, 1002], ports=ports_of(80, (8000, 8100)), protocol=1)
    scene.plan(user_ports=[tcp])
    wanted = ((PEER, 80), (PEER6, 8080), (PEER, 8443))
    for uid in (1001, 1002):
        assert scene.ports(*wanted, uid=uid, gid=9) == [80, 8080, OUTBOUND]
    assert scene.ports(*wanted, uid=1003, gid=9) == [OUTBOUND] * 3


def test_interfaces_are_left_out_by_name_and_by_beginning(scene):
    with interface(scene, "ext0"):
        for names, lands in ((["ext0"], 80), (["docker0", "ext*"], 80), (["ext", "xt*", "ext1"], OUTBOUND)):
            scene.plan(exclude_interfaces=names)
            assert scene.ports((EXTRA_PEER, 80), (PEER, 80)) == [lands, OUTBOUND], names
        scene.ask("remove")


def test_what_is_not_included_goes_direct(scene):
    scene.plan(outbound_ports=ports_of(8080, (8400, 8500)))
    assert scene.ports((PEER, 80), (PEER6, 8080), (PEER, 8443)) == [80, OUTBOUND, OUTBOUND]
    scene.plan(outbound_cidrs=[f"{PEER}/32", "10.99.0.0/16", "fd99::/64"], outbound_exclude=ports_of(8443))
    assert scene.ports((PEER, 80), (PEER6, 80), (PEER, 8443)) == [OUTBOUND, 80, 8443]


PROXY = {"uid": facts.UID_PROXY, "gid": facts.GID_PROXY}


@pytest.mark.parametrize("by", ["uids", "gids"])
def test_what_the_proxy_sends_to_its_own_host_is_somebodys_call(scene, by):
    number = facts.UID_PROXY if by == "uids" else facts.GID_PROXY
    scene.plan(self_call=True, proxy=owner(**{by: [number]}), hbone_port=15008)
    for landed, address in zip(scene.land((VM, 8080), (VM6, 8080), **PROXY), (VM, VM6)):
        assert landed["port"] == INBOUND and landed["original"] == [address, 8080]
    direct = (("127.0.0.1", 8080), ("::1", 8080), (VM, 15008), (VM, 22), (PEER, 80))
    assert scene.ports(*direct, **PROXY) == [8080, 8080, 15008, 22, 80]
    assert scene.ports((VM, 8080), (VM6, 8080)) == [8080, 8080]  # a program's own call doesn't leave the host


def test_what_the_inbound_listener_passes_on_arrives(scene):
    scene.plan(self_call=True, proxy=owner(uids=[facts.UID_PROXY]))
    passed_on = [{"address": VM, "port": 8080, "source": "127.0.0.6"}, {"address": VM6, "port": 8080, "source": "::6"}]
    assert scene.ports(*passed_on, **PROXY) == [8080, 8080]


def test_self_calls_can_be_left_direct(scene):
    scene.plan(self_call=False, proxy=owner(uids=[facts.UID_PROXY]))
    assert scene.ports((VM, 8080), (VM6, 8080), **PROXY) == [8080, 8080]


def test_thousands_of_networks(scene):
    networks = [f"10.{100 + i // 256}.{i % 256}.0/24" for i in range(1000)] + [f"{PEER}/32"]
    scene.plan(outbound_exclude_cidrs=networks)
    assert scene.ports((PEER, 80), (PEER6, 80)) == [80, OUTBOUND]


def test_the_same_plan_again_changes_nothing(scene):
    scene.plan()
    scene.ports(*BOTH)
    before = scene.counters()["out_redirect"]
    assert before == 2
    scene.plan()
    assert scene.counters()["out_redirect"] == before
