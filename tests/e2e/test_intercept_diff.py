# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""`hawser intercept plan --diff`: what the configuration would change of the rules in force."""

from __future__ import annotations

import json

from lab import broker_wire, facts, layout
from lab.broker_scene import nothing_left, scene  # noqa: F401 (fixtures)
from lab.broker_wire import message

CONFIG = f"""
users: {{agent: {facts.UID_AGENT}, proxy: {facts.UID_PROXY}}}
workload: {{name: app}}
control_plane:
  address: "{facts.MESH_IP}:{facts.PLANE_PORT}"
  root: "-----BEGIN CERTIFICATE-----"
"""


def hawser(scene, *words: str) -> str:
    scene.vm.write("/etc/hawser/diff.yaml", CONFIG)
    return scene.vm.run([f"{layout.BIN_IN_HOST}/hawser", "--config", "/etc/hawser/diff.yaml", "intercept", *words]).stdout


def test_without_rules_all_is_new(scene):
    rules = json.loads(hawser(scene, "plan", "--format", "json"))["rules"]
    said = hawser(scene, "plan", "--diff").splitlines()
    assert said[0] == "nothing is in force; all of this is new"
    assert said[1:] == [f"+ {rule['rule']}" for rule in rules]


def test_the_rules_that_are_in_force_are_no_change(scene):
    done = scene.plan()
    assert hawser(scene, "plan", "--diff") == f"nothing would change: generation {done.digest} is in force\n"
    assert hawser(scene, "plan").splitlines()[1] == f"generation {done.digest}"


def test_what_would_go_and_come_is_told(scene):
    scene.plan(ipv6=False, outbound_exclude=[message("PortRange", first=9999, last=9999)])
    before = scene.ruleset()
    said = hawser(scene, "plan", "--diff").splitlines()
    assert "- out excluded_port: tcp dport 9999 → left alone" in said
    assert "+ out redirect: ipv6 tcp → 15001" in said
    assert "+ out redirect: ipv4 tcp → 15001" not in said
    assert scene.ruleset() == before


OLDER = """
import os, socket, struct, sys
answer = bytes.fromhex(sys.argv[2])
with socket.socket(socket.AF_UNIX) as server:
    os.unlink(sys.argv[1])
    server.bind(sys.argv[1])
    server.listen()
    print("up", flush=True)
    with server.accept()[0] as client:
        size = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))[0]
        client.recv(size, socket.MSG_WAITALL)
        client.sendall(struct.pack("!I", len(answer)) + answer)
"""


def test_a_broker_that_cannot_say_its_rules_is_no_empty_one(scene):
    """As one of before it was asked for them: it knows the generation alone."""
    answer = message("Response", observe=message("ObserveResponse", active=True, digest="abc"))
    scene.kill_broker()
    words = ["/usr/bin/python3", "-I", "-c", OLDER, broker_wire.SOCKET, answer.SerializeToString().hex()]
    older = scene.vm.popen(words, stdout=-1, text=True)
    assert older.stdout.readline() == "up\n"
    scene.vm.write("/etc/hawser/diff.yaml", CONFIG)
    program = [f"{layout.BIN_IN_HOST}/hawser", "--config", "/etc/hawser/diff.yaml"]
    done = scene.vm.run([*program, "intercept", "plan", "--diff"], check=False)
    assert done.returncode == 78 and done.stdout == "", done
    assert "generation abc" in done.stderr and "(fix: use the same version" in done.stderr
    assert "[HWS-NF-092]" in done.stderr and done.stderr.count("\n") == 1
    older.wait(5)
    scene.hawser.start_broker()
