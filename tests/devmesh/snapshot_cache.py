# SPDX-License-Identifier: Apache-2.0
"""Hosts of one group are told the same, so a thousand of them need one snapshot and not a thousand."""

from __future__ import annotations

from devmesh import resources
from devmesh.config import Config
from devmesh.registry import Node, Registry
from devmesh.snapshot import Snapshot


class SnapshotCache:
    def __init__(self) -> None:
        self._config: Config | None = None
        self._version = -1
        self._made: dict[tuple, Snapshot] = {}

    def of(self, config: Config, node: Node, registry: Registry, **flags: bool) -> Snapshot:
        """As resources.build() makes it; to be read only."""
        if config is not self._config or registry.version != self._version:
            self._config, self._version = config, registry.version
            self._made.clear()
        key = (node.namespace, node.group, *sorted(flags.items()))
        if key not in self._made:
            self._made[key] = resources.build(config, node, registry.rows(), **flags)
        return self._made[key]
