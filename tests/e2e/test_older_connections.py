# SPDX-License-Identifier: Apache-2.0
"""Connections that are older than the rules go on untouched, whichever side speaks first after the rules came."""

from __future__ import annotations

import contextlib
import itertools
import socket
import typing

import pytest

from lab import facts, hawser
from lab.broker_wire import call, intent
from lab.host import Host
from lab.network import Lab

PORT = 5432  # a database, say


Ends = tuple[socket.socket, socket.socket]  # the host's, the peer's
CASES = list(itertools.product((4, 6), ("out", "in"), ("the host", "the peer")))


@pytest.fixture(scope="module")
def connections() -> typing.Iterator[dict[tuple, Ends]]:
    """A connection for each case, made before the rules."""
    with Lab() as lab, contextlib.ExitStack() as stack:
        vm = lab.add_host("vm", facts.VM_IP, facts.VM_IP6)
        outside = lab.add_host("outside", facts.OUTSIDE_IP, facts.OUTSIDE_IP6)
        hawser.HawserHost(vm).start_broker()
        for port in (15001, 15006):  # what the broker's probes look for
            for address, family in (("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6)):
                stack.enter_context(contextlib.closing(vm.call(socket.create_server, (address, port), family=family)))
        made = {}
        for family, direction, first in CASES:
            if direction == "out":
                made[family, direction, first] = connected(vm, outside, facts.OUTSIDE_IP if family == 4 else facts.OUTSIDE_IP6)
            else:
                far, near = connected(outside, vm, facts.VM_IP if family == 4 else facts.VM_IP6)
                made[family, direction, first] = (near, far)
        for end in itertools.chain.from_iterable(made.values()):
            stack.callback(end.close)
        call(vm, "plan", intent=intent(), confirm_seconds=0)
        yield made


def connected(client: Host, server: Host, address: str) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection from `client` to `server`."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.closing(server.call(socket.create_server, (address, PORT), family=family)) as listener:
        near = client.call(socket.create_connection, (address, PORT), timeout=5)
        listener.settimeout(5)
        far, _ = listener.accept()
    for end in (near, far):
        end.settimeout(5)
    return near, far


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"IPv{case[0]}-{case[1]}-{case[2]}-first")
def test_an_older_connection_goes_on(connections, case):
    ours, theirs = connections[case]
    order = (ours, theirs) if case[2] == "the host" else (theirs, ours)
    for sender, receiver in (order, order[::-1]):
        sender.sendall(b"still here")
        assert receiver.recv(64) == b"still here"
