# SPDX-License-Identifier: Apache-2.0
"""Names on a host with systemd-resolved: programs ask its stub on lo, and it asks the network's server.

hawserd has no DNS server yet: dnsmasq stands where it will be, as its user, and asks on at the stub.
"""

from __future__ import annotations

import pytest

from lab import facts, poll, services, steps

pytestmark = pytest.mark.incremental
PORT, STUB = 15053, "127.0.0.53"
OF_AGENT, OF_SERVER = "192.0.2.1", "192.0.2.2"
OURS, THEIRS = "ours.test", "theirs.test"  # the agent's server knows the first, the network's both
SETTINGS = "/etc/hawser/conf.d/60-test.yaml"
RESOLVED = f"[Resolve]\nDNS={facts.OUTSIDE_IP}\nDomains=~.\nDNSSEC=no\nLLMNR=no\nMulticastDNS=no\nCache=no\n"
COMMON = ["--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--cache-size=0"]


def start_servers(world) -> None:
    known = [f"--address=/{name}/{OF_SERVER}" for name in (OURS, THEIRS)]
    world.outside.popen(["dnsmasq", *COMMON, "--user=root", "--log-queries=extra", "--log-facility=-", *known], log="dns.log")
    agents = ["--user=", f"--port={PORT}", "--listen-address=127.0.0.1,::1", "--bind-interfaces", f"--server={STUB}"]
    program = ["dnsmasq", *COMMON, *agents, f"--address=/{OURS}/{OF_AGENT}"]
    world.host.run(["systemd-run", "--quiet", "--unit=agents-dns", "--property=User=hawser", *program])


def start_resolved(world) -> None:
    world.host.write("/etc/systemd/resolved.conf.d/lab.conf", RESOLVED)
    world.host.systemctl("enable", "--now", "--quiet", "systemd-resolved.service")
    world.host.run(["ln", "-sf", "/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf"])


def look_up(world, name: str) -> str:
    """As each program on the machine does: by the C library, which reads resolv.conf."""
    found = world.host.run(["getent", "ahostsv4", name], check=False, timeout=20, **services.AS_APP).stdout.split()
    return found[0] if found else "none"


def capture(world, which: str) -> None:
    world.host.write(SETTINGS, f"interception: {{dns: {{capture: {which}}}}}\n")
    world.vm.cli("intercept", "apply")


def asked_upstream(world, name: str) -> int:
    return (world.outside.log_dir / "dns.log").read_text().count(f"query[A] {name}")


def test_joins(world):
    start_resolved(world)
    start_servers(world)
    poll.until("the stub asks the network's server", lambda: look_up(world, THEIRS) == OF_SERVER)
    steps.join(world)
    assert look_up(world, OURS) == OF_SERVER


@pytest.mark.parametrize("which", ["resolvers", "all"])
def test_programs_ask_the_agent_and_the_agent_asks_the_stub(world, which):
    capture(world, which)
    assert look_up(world, OURS) == OF_AGENT
    before = asked_upstream(world, THEIRS)
    assert look_up(world, THEIRS) == OF_SERVER
    assert asked_upstream(world, THEIRS) == before + 1, "once: program, agent, stub, server, and no circle"


def test_who_sent_what_is_told_by_the_probe(world):
    assert f"asking {STUB}: answered by port {PORT}" in world.vm.cli("intercept", "verify").stdout


def test_another_server_in_resolv_conf_is_followed(world):
    """NetworkManager, dhclient and people write it anew at any time."""
    capture(world, "resolvers")
    world.host.run(["sh", "-c", f"rm /etc/resolv.conf; echo nameserver {facts.OUTSIDE_IP} >/etc/resolv.conf"])
    poll.until("captured", lambda: look_up(world, OURS) == OF_AGENT, timeout=8)
    world.host.run(["ln", "-sf", "/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf"])
    poll.until("captured again", lambda: look_up(world, OURS) == OF_AGENT, timeout=8)


def test_a_reboot_changes_nothing_of_it(world):
    world.host.reboot()
    assert look_up(world, OURS) == OF_SERVER, "nobody answers for the agent after a boot, so names go as before"
    world.vm.ready()


def test_leaving_gives_names_back(world):
    world.vm.leave()
    assert [look_up(world, name) for name in (OURS, THEIRS)] == [OF_SERVER] * 2
