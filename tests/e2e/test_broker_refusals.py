# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""hawser-broker where it may not, or where the kernel can't: one line with cause, fix and id, and the rules as they were.

What is missing is refused by the kernel itself, to the real program: capabilities that it hasn't got, and system calls
that a filter answers as a kernel without that module does (lab/programs/lacking.py).
"""

from __future__ import annotations

import re

import pytest

from lab import failpoints, layout, poll, services
from lab.broker_wire import Refused, message
from lab.hawser import AGENT, BROKER_CAPS
from lab.network import Lab
from lab.rule_scene import INBOUND, OUTBOUND, PEER, PEER6, VM, VM6, RuleScene, difference, ports_of

USAGE, UNAVAILABLE, OSERR, NOPERM = 64, 69, 71, 77
LOG = "hawser-broker.log"
LINE = re.compile(r"\S+ hawser-broker error: (?P<what>.+) \(fix: (?P<fix>.+)\) \[(?P<id>HWS-[A-Z]+-\d{3})\]\n")
BACKENDS = ("nftables", "xtables")


@pytest.fixture(scope="module")
def scene():
    with Lab() as lab:
        yield RuleScene(lab, "auto")


@pytest.fixture(autouse=True)
def no_broker(scene):
    """Tests start their own; afterwards one that lacks nothing cleans up."""
    stop(scene)
    yield
    stop(scene)
    scene.hawser.broker_options = ("--backend", "auto")
    scene.hawser.start_broker()
    scene.ask("remove")
    assert difference(scene.before, scene.state()) == []


def stop(scene) -> None:
    if scene.hawser.broker.poll() is None:
        scene.vm.stop(scene.hawser.broker)


def without(*lacking: str) -> list[str]:
    return services.program("lacking", ",".join(lacking))


def start(scene, backend: str, **how) -> None:
    scene.hawser.broker_options = ("--backend", backend, "--guardian-wait", "600000")
    failpoints.forget(scene.hawser, LOG)
    scene.hawser.start_broker(**how)


def log(scene) -> str:
    return (scene.vm.log_dir / LOG).read_text(errors="replace")


def refused_start(scene, backend: str | None, **how) -> tuple[int, re.Match]:
    """It ends by itself, with one line."""
    scene.hawser.broker_options = ("--backend", backend) if backend else ()
    failpoints.forget(scene.hawser, LOG)
    before = scene.state()
    scene.hawser.spawn_broker(**how)
    code = scene.hawser.broker.wait(10)
    told = LINE.fullmatch(log(scene))
    assert told, log(scene)
    assert difference(before, scene.state()) == []
    return code, told


def test_the_environment_chooses_the_backend_unless_an_option_does(scene):
    """As the unit gives it, from /etc/hawser/broker.env."""
    for options, backend in (((), "xtables"), (("--backend", "nftables"), "nftables")):
        scene.hawser.broker_options = options
        scene.hawser.start_broker(env={"HAWSER_BACKEND": "xtables"})
        assert scene.observe().backend == backend
        scene.plan()
        assert scene.ports((PEER, 80)) == [OUTBOUND]
        assert ("HAWSER_OUTPUT" in scene.vm.run(["iptables-legacy-save"]).stdout) == (backend == "xtables")
        scene.ask("remove")
        stop(scene)


@pytest.mark.parametrize("how", [{"env": {"HAWSER_BACKEND": "ipfw"}, "backend": None}, {"backend": "ipfw"}])
def test_an_unknown_backend_is_refused(scene, how):
    code, told = refused_start(scene, **how)
    assert (code, told["id"]) == (USAGE, "HWS-NF-076"), told[0]
    assert '"ipfw" is no backend' in told["what"] and "/etc/hawser/broker.env" in told["fix"]


def caps(*missing: str) -> tuple[str, ...]:
    return tuple(name for name in BROKER_CAPS if name not in missing)


@pytest.mark.parametrize(
    "backend, missing, error_id",
    [
        ("auto", "net_admin", "HWS-NF-010"),
        ("nftables", "net_admin", "HWS-NF-010"),
        ("xtables", "net_admin", "HWS-NF-073"),
        ("xtables", "net_raw", "HWS-NF-073"),
    ],
)
def test_without_a_capability_it_says_which(scene, backend, missing, error_id):
    code, told = refused_start(scene, backend, caps=caps(missing))
    assert code == NOPERM and told["id"] == error_id, told[0]
    assert f"CAP_{missing.upper()}" in told["fix"]


def test_rules_outlive_a_successor_that_may_not_touch_them(scene):
    start(scene, "xtables")
    scene.ask("confirm", digest=scene.plan().digest)
    scene.kill_broker()
    refused_start(scene, "xtables", caps=caps("net_admin"))
    assert scene.ports((PEER, 80), (PEER6, 80)) == [OUTBOUND, OUTBOUND]


@pytest.mark.parametrize(
    "backend, lacking, error_id, words",
    [
        ("nftables", ["nf_tables"], "HWS-NF-011", ["no nftables", "nf_tables"]),
        ("xtables", ["ip_tables"], "HWS-NF-077", ["no legacy xtables", "ip_tables"]),
        ("auto", ["nf_tables", "ip_tables"], "HWS-NF-077", ["no nftables", "no legacy xtables"]),
    ],
)
def test_on_a_kernel_without_it_a_backend_is_refused(scene, backend, lacking, error_id, words):
    code, told = refused_start(scene, backend, before=without(*lacking))
    assert code == UNAVAILABLE and told["id"] == error_id, told[0]
    assert all(word in told[0] for word in words), told[0]
    assert "modules" in told["fix"]


def test_without_nftables_the_other_one_does_it_all(scene):
    start(scene, "auto", before=without("nf_tables"))
    assert scene.observe().backend == "xtables"
    text = log(scene)
    assert 'because="the kernel has no nftables' in text
    assert text.count("HWS-NF-110") == 1 and "changes by others are found by looking" in text
    scene.plan()
    assert scene.ports((PEER, 80), (PEER6, 80), (PEER, 22)) == [OUTBOUND, OUTBOUND, 22]
    assert scene.ports((VM, 80), (VM6, 80), host=scene.peer) == [INBOUND, INBOUND]
    scene.ask("remove")
    assert scene.ports((PEER, 80), (PEER6, 80)) == [80, 80]


def refused_plan(scene, words: str, **changes) -> None:
    """In one line; what was in force still is, and so is the broker."""
    before, connections = scene.state(), scene.ports((PEER, 80), (PEER6, 80))
    with pytest.raises(Refused, match=words) as refused:
        scene.plan(**changes)
    assert refused.value.hint and "\n" not in str(refused.value), refused.value
    assert difference(before, scene.state()) == []
    assert scene.ports((PEER, 80), (PEER6, 80)) == connections
    assert scene.hawser.broker.poll() is None


@pytest.mark.parametrize(
    "lacking, words",
    [
        ("xt_matches", r"lacks what the plan needs: .*owner revision 1.*xt_ modules.*HWS-NF-074"),
        ("xt_consent", r"the kernel refused table .* nothing was changed.*HWS-NF-075"),
        ("xt_memory", r"too big for the kernel: no memory for table .*nothing was changed.*HWS-NF-016"),
        ("xt_peace", r"another program changed table .*HWS-NF-080"),
        ("rtnetlink", r"can't be listed.*HWS-NF-052"),
    ],
)
def test_what_the_kernel_refuses_of_xtables_changes_nothing(scene, lacking, words):
    start(scene, "xtables", before=without(lacking))
    refused_plan(scene, words)


@pytest.mark.parametrize("lacking", ["xt_consent", "xt_memory"])
def test_a_refused_table_leaves_the_rules_that_were_there(scene, lacking):
    start(scene, "xtables")
    scene.ask("confirm", digest=scene.plan().digest)
    scene.kill_broker()
    start(scene, "xtables", before=without(lacking))
    refused_plan(scene, "nothing was changed", capture_inbound=False)
    assert scene.ports((VM, 80), host=scene.peer) == [INBOUND]


def test_a_table_that_cannot_be_taken_back_is_reported(scene):
    """IPv4's is written, IPv6's isn't, and then the first one can't be written again."""
    if not failpoints.compiled_in():
        pytest.skip("the programs have no fail-points")
    start(scene, "xtables", env=failpoints.fail_from("xtables/nat", 2))
    with pytest.raises(Refused, match="table nat can't be written.*HWS-NF-075"):
        scene.plan()
    assert log(scene).count("HWS-NF-078") == 1, log(scene)
    # What the error says to do, helps.
    scene.kill_broker()
    scene.vm.run([f"{layout.BIN_IN_HOST}/hawser-broker", "--withdraw"], caps=BROKER_CAPS)
    assert difference(scene.before, scene.state()) == []


def networks(count: int) -> list[str]:
    """Far from each other: none can be put together with the next."""
    return [f"{11 + (i >> 14)}.{(i >> 6) & 255}.{(i & 63) << 2}.0/24" for i in range(count)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_plan_over_our_own_limits_is_refused(scene, backend):
    start(scene, backend)
    scene.plan()
    refused_plan(scene, "excluded networks: 16385 entries, at most 16384.*summarise.*HWS-NF-007",
                 outbound_exclude_cidrs=networks(16385))
    refused_plan(scene, "excluded outbound ports: 1025 entries.*HWS-NF-007",
                 outbound_exclude=ports_of(*range(2000, 4050, 2)))
    refused_plan(scene, "users' ports: 65 entries.*HWS-NF-007", user_ports=[message("UserPorts", uids=[1])] * 65)


def test_a_plan_over_the_limit_of_sockets_is_refused(scene):
    """In a container a netlink message is at most as long as net.core.wmem_default."""
    start(scene, "nftables", before=without("large_buffers"))
    scene.plan()
    assert scene.ports((PEER, 80)) == [OUTBOUND]
    refused_plan(scene, "too big for the kernel: .*net.core.wmem_max.*HWS-NF-016",
                 outbound_exclude_cidrs=networks(16000))


@pytest.fixture
def read_only_run(scene):
    scene.vm.run(["mount", "-o", "remount,ro", "/run"])
    yield
    scene.vm.run(["mount", "-o", "remount,rw", "/run"], check=False)


def test_with_a_read_only_run_no_program_starts_and_nothing_is_applied(scene, read_only_run):
    code, told = refused_start(scene, "auto")
    assert code == NOPERM and told["id"] == "HWS-RPC-003", told[0]
    assert "/run/hawser/broker.sock" in told["what"] and "Read-only file system" in told["what"]
    assert "mount -o remount,rw" in told["fix"]
    agent = scene.vm.run([f"{layout.BIN_IN_HOST}/hawserd"], uid=AGENT, check=False, timeout=20)
    lines = [line for line in agent.stderr.splitlines() if "error" in line]
    assert agent.returncode == OSERR and len(lines) == 1, agent
    assert "Read-only file system" in lines[0] and "remount,rw" in lines[0] and "[HWS-RPC-003]" in lines[0]


def test_with_a_lock_that_cannot_be_made_nothing_is_applied(scene):
    scene.vm.run(["mkdir", "-p", "/run/lab/locks"])
    scene.vm.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/run/lab/locks"])
    try:
        start(scene, "xtables", env={"XTABLES_LOCKFILE": "/run/lab/locks/xtables.lock"})
        refused_plan(scene, "xtables.lock can't be opened: Read-only file system.*systemd-tmpfiles.*HWS-NF-072")
        scene.vm.run(["mount", "-o", "remount,rw", "/run/lab/locks"])
        scene.plan()
        assert scene.ports((PEER, 80)) == [OUTBOUND]
        scene.ask("remove")
    finally:
        stop(scene)
        scene.vm.run(["umount", "/run/lab/locks"])


def test_rules_of_another_mesh_that_have_an_owner_are_not_taken_over(scene):
    """Its agent lives and owns them, so nobody else can remove them: ours are withdrawn, theirs stay."""
    start(scene, "nftables")
    owner = scene.vm.popen(["nft", "-i"], stdin=-1, text=True)
    try:
        owner.stdin.write(
            "add table ip istio-proxy-nat { flags owner; }\n"
            "add chain ip istio-proxy-nat output { type nat hook output priority -100; }\n"
            "add rule ip istio-proxy-nat output tcp dport 8080 redirect to :9000\n"
        )
        owner.stdin.flush()
        poll.until("their rule decides", lambda: scene.ports((PEER, 8080)) == [9000])
        before = scene.state()
        with pytest.raises(Refused, match="another mesh's rules can't be removed: .*HWS-NF-055"):
            scene.ask("plan", intent=scene.intent(), takeover=True)
        poll.until("ours are gone", lambda: difference(before, scene.state()) == [])
        assert scene.ports((PEER, 8080), (PEER, 80)) == [9000, 80]
    finally:
        owner.stdin.close()
        owner.wait(5)


def test_what_is_left_after_a_removal_is_named(scene):
    """Somebody made a table of our name; it isn't what we applied, and it has an owner who lives."""
    start(scene, "nftables")
    scene.plan()
    owner = scene.vm.popen(["nft", "-i"], stdin=-1, text=True)
    try:
        owner.stdin.write("add table inet hawser_else { flags owner; }\n")
        owner.stdin.flush()
        poll.until("it's there", lambda: "inet hawser_else" in scene.ruleset())
        done = scene.hawser.cli("intercept", "remove", check=False)
        assert done.returncode == 78 and "left: inet hawser_else" in done.stdout, done
        assert done.stderr.count("\n") == 1 and "something is left" in done.stderr, done
        assert "(fix: " in done.stderr and "[HWS-BR-039]" in done.stderr
        assert scene.ports((PEER, 80)) == [80]
    finally:
        owner.stdin.close()
        owner.wait(5)
    assert scene.hawser.cli("intercept", "remove").returncode == 0


def test_removal_without_any_right_is_told_in_one_line_each(scene):
    """No broker, and the last resort may not either: rules of legacy xtables are in force all the same."""
    start(scene, "xtables")
    scene.ask("confirm", digest=scene.plan().digest)
    scene.kill_broker()
    done = scene.hawser.cli("intercept", "remove", check=False, caps=caps("net_admin"))
    lines = done.stderr.splitlines()
    assert done.returncode != 0 and all("(fix: " in line for line in lines), done
    ids = [re.search(r"\[(HWS-\S+)\]$", line)[1] for line in lines]
    assert ids == ["HWS-NF-073", "HWS-NF-010", "HWS-NF-052", "HWS-BR-039"], done
    assert scene.ports((PEER, 80)) == [OUTBOUND]
