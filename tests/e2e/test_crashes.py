# SPDX-License-Identifier: Apache-2.0
"""hawserd and the broker are killed at random moments under traffic; `./dev soak` is the long form."""

from __future__ import annotations

import concurrent.futures
import random
import time

import pytest

from lab import poll, steps
from lab.fd_store import FdStore
from soak import crashes

pytestmark = pytest.mark.incremental

KILLS = 15
BROKER_KILLS = 3
TIME_LIMIT = 120.0


def test_joins(world):
    steps.join(world)
    steps.inbound(world)


def test_renewals_at_the_same_time_are_all_answered(world):
    """They shared one timer once, so that the first was answered by its time-out only."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        begin = time.monotonic()
        for done in [pool.submit(world.vm.renew) for _ in range(4)]:
            done.result(timeout=20)
    assert time.monotonic() - begin < 4, "a caller was answered late"


def test_a_killed_hawserd_costs_nothing(world, record_property):
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}")
    killer = crashes.AgentKiller(world, seed)
    with world.traffic() as traffic:
        traffic.more(20)
        before = crashes.remains(world)
        begin = time.monotonic()
        while killer.outcome.total < KILLS and time.monotonic() - begin < TIME_LIMIT:
            killer.kill()
        traffic.more(20)
        after = crashes.remains(world)
        reports = traffic.finish()
    document = crashes.report(killer.outcome, reports, before.leaks(after))
    print(crashes.table(document))
    record_property("crashes", document)
    assert killer.outcome.total >= KILLS, f"only {killer.outcome.total} kills in {TIME_LIMIT:g} s"
    assert not document["leaks"], document["leaks"]
    assert sum(load["sent"] for load in document["traffic"].values()) > 100


def test_a_killed_broker_is_healed_by_hawserd(world):
    """Where nobody keeps its descriptors for it."""
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}")
    killer = crashes.BrokerKiller(world, seed)
    before = crashes.remains(world)
    for _ in range(BROKER_KILLS):
        killer.kill()
    after = crashes.remains(world)
    assert max(killer.outcome.gaps) < 10, killer.outcome.gaps
    assert not before.leaks(after)


def test_a_killed_broker_whose_descriptors_are_kept_costs_nothing(world):
    """As systemd keeps them."""
    seed = random.SystemRandom().randrange(1 << 31)
    print(f"seed {seed}")
    with FdStore(world.host) as store:
        killer = crashes.BrokerKiller(world, seed, store)
        with world.traffic() as traffic:
            traffic.more(20)
            before = crashes.remains(world)
            for _ in range(BROKER_KILLS):
                killer.kill()
            traffic.more(20)
            after = crashes.remains(world)
            traffic.finish()
        world.host.stop(world.vm.broker)
    assert not before.leaks(after)
    world.vm.start_broker()
    poll.until("healed", lambda: world.vm.status()["state"] == "ok" and crashes.rules(world), 20)


def test_leaves_nothing_behind(world):
    steps.leave(world)
