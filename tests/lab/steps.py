# SPDX-License-Identifier: Apache-2.0
"""The seven steps of a host's life in a mesh, each checked; the demo shows them, e2e and interop run them as tests.

Each takes the World and returns what it measured, as (what, figure) lines. They are meant to run in this order.
"""

from __future__ import annotations

import time
import typing

from lab import facts, handshake, poll, services
from lab.hawser import difference
from lab.world import SSH_PORT, World

Figures = list[tuple[str, str]]

EVENTS = ["CONFIGURED", "PREFLIGHT_OK", "IDENTITY_READY", "CONTROL_PLANE_CONNECTED", "PROXY_READY", "INTERCEPTING", "REGISTERED"]
PUSH_TIMEOUT = 15.0  # for a change in the control plane to reach a proxy
RECONNECT_TIMEOUT = 40.0  # back-off of the agent included
WITHDRAW_TIMEOUT = 20.0  # a control plane may grant a grace time of 10 s to a closed stream


def join(world: World) -> Figures:
    """1. The VM joins from the bundle."""
    plain = services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/before")
    assert plain.status == 200, f"before the join the VM's service is open to all, but: {plain.error or plain.status}"
    begin = time.monotonic()
    world.vm.join(world.bundle)
    world.vm.wait("REGISTERED")
    took = time.monotonic() - begin
    status = world.vm.status()
    events = {event["name"]: event["since_start_ms"] for event in status["events"]}
    assert list(events) == EVENTS, f"start-up events are {list(events)}"
    assert sorted(events.values()) == list(events.values()), f"events aren't in order of time: {events}"
    assert status["identity"]["spiffe_id"] == facts.spiffe(facts.VM_SA), status["identity"]
    row = poll.until("the workload table has the VM as healthy", lambda: _row(world, healthy=True), PUSH_TIMEOUT)
    assert row.service_account == facts.VM_SA, row
    first = min(events.values())
    return [
        ("hawser join to REGISTERED", _seconds(took)),
        *((f"  {name}", f"+{milliseconds - first} ms") for name, milliseconds in events.items()),
        ("identity", status["identity"]["spiffe_id"]),
        (f"workload table: {row.name}, healthy", row.address),
    ]


def outbound(world: World) -> Figures:
    """2. An ordinary curl in the VM reaches reviews through interception."""
    answer = services.curl(world.host, f"http://{facts.REVIEWS_HOST}/outbound")
    assert answer.status == 200, f"curl in the VM: {answer.error or answer.status} {answer.body.strip()}"
    assert answer.json["service"] == "reviews", answer.body
    seen = services.caller_id(answer)
    assert seen == facts.spiffe(facts.VM_SA), f"reviews saw {seen!r} as its caller: {answer.body}"
    return [
        (f"curl http://{facts.REVIEWS_HOST}/", f"200 in {answer.seconds * 1000:.1f} ms"),
        ("reviews saw as its caller", seen),
    ]


def inbound(world: World) -> Figures:
    """3. reviews calls the VM by mTLS; plaintext and identities that aren't allowed are refused."""
    reviews = world.reviews
    begin = time.monotonic()
    answer = poll.until(
        "reviews gets an answer of the VM", lambda: _ok(world, reviews.POOLED), PUSH_TIMEOUT
    )
    waited = time.monotonic() - begin
    assert answer.json["service"] == "vm-app", answer.body
    seen = services.caller_id(answer)
    assert seen == facts.spiffe(facts.REVIEWS_SA), f"the VM's program saw {seen!r} as its caller: {answer.body}"

    refused = []
    for address in (facts.VM_IP, f"[{facts.VM_IP6}]"):
        plain = services.curl(world.outside, f"http://{address}:{facts.VM_PORT}/plaintext")
        assert plain.status == 0 and plain.error, f"plaintext from outside got {plain.status}: {plain.body}"
        refused.append(plain.error)
    assert "/plaintext" not in (world.host.log_dir / "vm-app.log").read_text(), "the VM's program saw a plaintext request"

    world.plane.allow_callers([facts.REVIEWS_SA])
    begin = time.monotonic()
    try:
        poll.until("ratings is denied", lambda: _status(world, reviews.RATINGS) == 403, PUSH_TIMEOUT)
        denied_after = time.monotonic() - begin
        assert _status(world, reviews.POOLED) == 200, "the allow-list denies reviews, which is on it"
    finally:
        world.plane.allow_callers(None)
    poll.until("ratings is allowed again", lambda: _status(world, reviews.RATINGS) == 200, PUSH_TIMEOUT)
    return [
        ("reviews to the VM by mTLS", f"200 in {answer.seconds * 1000:.1f} ms, first answer after {_seconds(waited)}"),
        ("the VM's program saw as its caller", seen),
        ("plaintext from outside the mesh", f"refused ({refused[0]})"),
        ("ratings, not on the allow-list", f"403, {_seconds(denied_after)} after the change"),
    ]


def self_call(world: World) -> Figures:
    """The VM calls its own service: by mTLS and through its inbound listener, as everybody else does."""
    answer = poll.until("the VM's service answers the VM", lambda: _ok_self(world), PUSH_TIMEOUT)
    assert answer.json["service"] == "vm-app", answer.body
    seen = services.caller_id(answer)
    assert seen == facts.spiffe(facts.VM_SA), f"the VM's program saw {seen!r} as its caller: {answer.body}"
    return [("the VM's program saw the VM as its caller", seen)]


def call_self(world: World) -> services.Answer:
    """By name, at an address of which only the port matters to the plane's listener."""
    host = ("-H", f"Host: {facts.VM_HOST}:{facts.VM_PORT}")
    return services.curl(world.host, f"http://{facts.REVIEWS_VIP}:{facts.VM_PORT}/self", options=host)


def _ok_self(world: World) -> services.Answer | None:
    answer = call_self(world)
    return answer if answer.status == 200 else None


def renewal(world: World) -> Figures:
    """4. The certificate is rotated while requests run."""
    old = int(world.vm.cert()["serial"], 16)
    assert handshake.serial(world) == old, "Envoy presents another certificate than `hawser cert show`"
    with world.traffic() as traffic:
        traffic.more(20)
        begin = time.monotonic()
        world.vm.renew()
        took = time.monotonic() - begin
        new = int(world.vm.cert()["serial"], 16)
        assert new != old, "`hawser cert renew` kept the certificate"
        poll.until("Envoy presents the new certificate", lambda: handshake.serial(world) == new, 5)
        presented = time.monotonic() - begin
        traffic.more(50)
        reports = traffic.finish()
    return [
        ("hawser cert renew", _seconds(took)),
        ("serial that Envoy presents", f"{old:x}"[:12] + "… → " + f"{new:x}"[:12] + f"…, seen after {_seconds(presented)}"),
        *_load_figures(reports),
    ]


def outage(world: World) -> Figures:
    """5. The control plane is stopped and started again."""
    opened = world.vm.status()["control_plane"]["streams_opened"]
    with world.traffic() as traffic:
        traffic.more(10)
        world.plane.stop()
        stopped = time.monotonic()
        poll.until("hawser status tells the outage", lambda: not _connected(world), 15)
        traffic.more(100)
        down = time.monotonic() - stopped
        world.plane.start(world.mesh)
        begin = time.monotonic()
        poll.until("the stream is back", lambda: _connected(world), RECONNECT_TIMEOUT)
        back = time.monotonic() - begin
        poll.until("the workload table has the VM again", lambda: _row(world, healthy=True), RECONNECT_TIMEOUT)
        traffic.more(20)
        reports = traffic.finish()
    assert world.vm.status()["control_plane"]["streams_opened"] > opened, "no new stream was counted"
    # the new stream carries changes: nothing of the subscriptions was lost
    world.plane.allow_callers([facts.REVIEWS_SA])
    poll.until("a change made after the outage arrives", lambda: _status(world, world.reviews.RATINGS) == 403, PUSH_TIMEOUT)
    world.plane.allow_callers(None)
    poll.until("and the next one", lambda: _status(world, world.reviews.RATINGS) == 200, PUSH_TIMEOUT)
    return [
        ("control plane away for", _seconds(down)),
        ("stream back after its start", _seconds(back)),
        *_load_figures(reports),
    ]


def ssh(world: World) -> Figures:
    """6. SSH's port was never captured."""
    figures: Figures = []
    for probe, direction in zip(world.ssh_probes, (f"outside to VM:{SSH_PORT}", f"VM to outside:{SSH_PORT}")):
        probe.more(10)
        report = probe.report()
        assert report.failed == 0, f"{direction}: {report.describe_failures()}"
        figures.append((f"{direction}, since before the join", f"{report.sent} connections, all direct, 0 failed"))
    return figures


def leave(world: World) -> Figures:
    """7. The VM leaves, and nothing is left."""
    begin = time.monotonic()
    world.vm.leave()
    took = time.monotonic() - begin
    poll.until("the VM is withdrawn from the workload table", lambda: _row(world) is None, WITHDRAW_TIMEOUT)
    withdrawn = time.monotonic() - begin

    def changed() -> str:
        return difference(world.before, world.vm.snapshot())

    try:
        poll.until("as before", lambda: not changed(), 10, every=0.2)
    except AssertionError:
        raise AssertionError("after `hawser leave` the host isn't as before the join:\n" + changed()) from None
    plain = services.curl(world.outside, f"http://{facts.VM_IP}:{facts.VM_PORT}/after")
    assert plain.status == 200, f"after the leave the VM's service isn't open as before: {plain.error or plain.status}"
    sent = 0
    for probe in world.ssh_probes:
        report = probe.stop()
        assert report.failed == 0, f"SSH's port: {report.describe_failures()}"
        sent += report.sent
    looked_at = sum(len(lines) for lines in world.before.values())
    return [
        ("hawser leave", _seconds(took)),
        ("gone from the workload table after", _seconds(withdrawn)),
        ("rules, routes, processes, sockets, sysctls, files", f"as before the join ({looked_at} entries compared)"),
        (f"port {SSH_PORT}, from before the join until now", f"{sent} connections, 0 failed"),
    ]


STEPS: list[tuple[str, typing.Callable[[World], Figures]]] = [
    ("The VM joins from the bundle", join),
    ("An ordinary curl in the VM reaches reviews through the mesh", outbound),
    ("reviews calls the VM; what may not is refused", inbound),
    ("The certificate is rotated while requests run", renewal),
    ("The control plane goes away and comes back", outage),
    ("SSH was never captured", ssh),
    ("The VM leaves", leave),
]


def _row(world: World, healthy: bool | None = None):
    rows = [row for row in world.plane.workloads() if row.address == facts.VM_IP]
    assert len(rows) <= 1, f"several rows: {rows}"
    if healthy is None:
        return rows[0] if rows else None
    return rows[0] if rows and rows[0].connected and rows[0].healthy is healthy else None


def _status(world: World, port: int) -> int:
    return services.curl(world.mesh, world.reviews.url(port)).status


def _ok(world: World, port: int) -> services.Answer:
    answer = services.curl(world.mesh, world.reviews.url(port, "/inbound"))
    assert answer.status == 200, f"{answer.status} {answer.error or answer.body.strip()}"
    return answer


def _connected(world: World) -> bool:
    return world.vm.status()["control_plane"]["connected"]


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _load_figures(reports: dict[str, services.LoadReport]) -> Figures:
    return [
        (f"requests {name}", f"{report.sent} sent, {report.failed} failed (p50 {report.p50_ms:g} ms, p99 {report.p99_ms:g} ms)")
        for name, report in reports.items()
    ]
