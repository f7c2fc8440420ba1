# SPDX-License-Identifier: Apache-2.0
"""The rules of one delta stream: subscriptions, versions, nonces. No I/O: requests and snapshots in, responses out."""

from __future__ import annotations

import dataclasses
import typing

from envoy.service.discovery.v3 import discovery_pb2

from devmesh.snapshot import CDS, EDS, PUSH_ORDER, Snapshot

WILDCARD = "*"
_MISSING = None  # as a sent version: the client knows that there is none
_KEPT_NONCES = 1024


@dataclasses.dataclass
class Subscription:
    wildcard: bool = False
    names: set[str] = dataclasses.field(default_factory=set)
    sent: dict[str, str | None] = dataclasses.field(default_factory=dict)
    nonces: dict[str, None] = dataclasses.field(default_factory=dict)  # outstanding, oldest first
    newest: str = ""  # nonce; may be rejected although it was acknowledged, since a relay may have a second client
    responses: int = 0
    acks: int = 0
    nacks: int = 0
    last_nack: str = ""

    def view(self) -> dict[str, typing.Any]:
        names = {"wildcard": self.wildcard, "names": sorted(self.names), "sent": len(self.sent)}
        counts = {"responses": self.responses, "acks": self.acks, "nacks": self.nacks, "last_nack": self.last_nack}
        return {**names, **counts, "outstanding": len(self.nonces)}

    def note_answer(self, nonce: str, error: str | None) -> bool:
        """ACK (no error) or NACK; False when the nonce isn't one of ours, or was acknowledged before."""
        if nonce not in self.nonces and not (error is not None and nonce == self.newest):
            return False
        self.nonces.pop(nonce, None)
        if error is None:
            self.acks += 1
        else:
            self.nacks += 1
            self.last_nack = error
        return True

    def note_response(self, nonce: str) -> None:
        self.responses += 1
        self.nonces[nonce] = None
        self.newest = nonce
        if len(self.nonces) > _KEPT_NONCES:
            del self.nonces[next(iter(self.nonces))]


class DeltaSession:
    request_class = discovery_pb2.DeltaDiscoveryRequest

    def __init__(self, next_nonce: typing.Callable[[], str], blank_versions: typing.Callable[[], bool] = lambda: False):
        self.types: dict[str, Subscription] = {}
        self._next_nonce, self._blank = next_nonce, blank_versions

    def on_request(self, request, snapshot: Snapshot) -> list:
        first = request.type_url not in self.types
        subscription = self.types.setdefault(request.type_url, Subscription())
        if request.response_nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            subscription.note_answer(request.response_nonce, error)
        subscribe, unsubscribe = set(request.resource_names_subscribe), set(request.resource_names_unsubscribe)
        if first:
            # a type opened without names means all of it
            subscription.wildcard = not subscribe
            self._resume(request, subscription)
        if WILDCARD in subscribe:
            subscription.wildcard = True
        subscribe.discard(WILDCARD)
        if WILDCARD in unsubscribe:
            subscription.wildcard = False
            for name in set(subscription.sent) - subscription.names:
                del subscription.sent[name]
        unsubscribe.discard(WILDCARD)
        subscription.names |= subscribe
        for name in subscribe:
            if not (first and subscription.sent.get(name)):
                # a name that is subscribed again is told again, changed or not
                subscription.sent.pop(name, None)
        for name in unsubscribe - subscribe:
            subscription.names.discard(name)
            if not subscription.wildcard:
                subscription.sent.pop(name, None)
        fresh = first and not request.initial_resource_versions
        if not (subscribe or unsubscribe or first):
            return []
        return self._respond(request.type_url, snapshot, even_if_empty=fresh)

    def push(self, snapshot: Snapshot) -> list:
        """All that changed, in the order that never names what the client doesn't have yet."""
        others = [t for t in self.types if t not in PUSH_ORDER]
        return [r for t in (*PUSH_ORDER, *others) if t in self.types for r in self._respond(t, snapshot, follow=False)]

    def _resume(self, request, subscription: Subscription) -> None:
        """After a reconnect: what the client holds counts as subscribed."""
        if not subscription.wildcard:
            subscription.names |= set(request.initial_resource_versions) - {WILDCARD}
        if request.type_url != EDS:
            # endpoints are sent again after each reconnect, as istiod does: their clusters may wait for them
            subscription.sent.update(request.initial_resource_versions)

    def _respond(self, type_url: str, snapshot: Snapshot, *, even_if_empty: bool = False, follow: bool = True) -> list:
        subscription, entries = self.types[type_url], snapshot.of(type_url)
        wanted = set(entries) | subscription.names if subscription.wildcard else set(subscription.names)
        blank = self._blank()
        changed, removed = [], []
        for name in sorted(wanted | set(subscription.sent)):
            known = subscription.sent.get(name, "unknown")
            if name in entries and name in wanted:
                if known != entries[name].version:
                    changed.append(name)
            elif known is not _MISSING:
                removed.append(name)
        if not (changed or removed or even_if_empty):
            return []
        response = discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url, nonce=self._next_nonce(), system_version_info=snapshot.version_of(type_url)
        )
        for name in changed:
            entry = entries[name]
            subscription.sent[name] = entry.version
            response.resources.add(name=name, version="" if blank else entry.version, resource=entry.resource)
        for name in removed:
            response.removed_resources.append(name)
            if name in subscription.names:
                subscription.sent[name] = _MISSING
            else:
                subscription.sent.pop(name, None)
        subscription.note_response(response.nonce)
        return [response, *self._endpoints_of(changed, snapshot, follow)] if type_url == CDS else [response]

    def _endpoints_of(self, clusters: list[str], snapshot: Snapshot, follow: bool) -> list:
        """A changed cluster waits for its endpoints anew; Envoy doesn't ask again for a name it has subscribed."""
        if EDS not in self.types:
            return []
        for name in clusters:
            self.types[EDS].sent.pop(name, None)
        return self._respond(EDS, snapshot) if follow else []

