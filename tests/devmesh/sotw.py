# SPDX-License-Identifier: Apache-2.0
"""The rules of one state-of-the-world stream: the whole set of a type in each response. No I/O."""

from __future__ import annotations

import dataclasses
import typing

from envoy.service.discovery.v3 import discovery_pb2

from devmesh.delta import WILDCARD, Subscription
from devmesh.snapshot import CDS, EDS, LDS, PUSH_ORDER, Snapshot


@dataclasses.dataclass
class WholeSubscription(Subscription):
    last_nonce: str = ""
    last_set: dict[str, str] = dataclasses.field(default_factory=dict)


class SotwSession:
    request_class = discovery_pb2.DiscoveryRequest

    def __init__(self, next_nonce: typing.Callable[[], str], blank_versions: typing.Callable[[], bool] = lambda: False):
        self.types: dict[str, WholeSubscription] = {}
        self._next_nonce, self._blank = next_nonce, blank_versions

    def on_request(self, request, snapshot: Snapshot) -> list:
        first = request.type_url not in self.types
        subscription = self.types.setdefault(request.type_url, WholeSubscription())
        if request.response_nonce:
            error = request.error_detail.message if request.HasField("error_detail") else None
            subscription.note_answer(request.response_nonce, error)
            if not first and request.response_nonce != subscription.last_nonce:
                return []  # answers an older response: the one to the newest is on its way
        names = set(request.resource_names)
        if not names and request.type_url in (CDS, LDS):
            names = {WILDCARD}
        changed = names != subscription.names or first
        subscription.names = names
        subscription.wildcard = WILDCARD in names
        return [self._respond(request.type_url, snapshot)] if changed and (names or first) else []

    def push(self, snapshot: Snapshot) -> list:
        responses = []
        clusters_changed = False
        for type_url in [*PUSH_ORDER, *(t for t in self.types if t not in PUSH_ORDER)]:
            subscription = self.types.get(type_url)
            if subscription is None:
                continue
            changed = self._wanted(type_url, snapshot) != subscription.last_set
            clusters_changed |= changed and type_url == CDS
            # a changed cluster waits for its endpoints anew
            if changed or (type_url == EDS and clusters_changed and subscription.names):
                responses.append(self._respond(type_url, snapshot))
        return responses

    def _wanted(self, type_url: str, snapshot: Snapshot) -> dict[str, str]:
        subscription = self.types[type_url]
        entries = snapshot.of(type_url)
        return {n: e.version for n, e in entries.items() if subscription.wildcard or n in subscription.names}

    def _respond(self, type_url: str, snapshot: Snapshot):
        subscription = self.types[type_url]
        subscription.last_set = self._wanted(type_url, snapshot)
        subscription.last_nonce = self._next_nonce()
        subscription.note_response(subscription.last_nonce)
        version = "" if self._blank() else snapshot.version_of(type_url)
        return discovery_pb2.DiscoveryResponse(
            type_url=type_url,
            version_info=version,
            nonce=subscription.last_nonce,
            resources=[snapshot.of(type_url)[name].resource for name in sorted(subscription.last_set)],
        )
