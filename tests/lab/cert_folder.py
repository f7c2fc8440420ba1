# SPDX-License-Identifier: Apache-2.0
"""Key, chain and roots in a folder of a host, as a kubelet or a certificate agent keeps them: swapped by one link."""

from __future__ import annotations

import os
import pathlib

from lab import facts
from lab.host import Host
from lab.plane import Identity

ISTIO = ("key.pem", "cert-chain.pem", "root-cert.pem")
CERT_MANAGER = ("tls.key", "tls.crt", "ca.crt")


class CertFolder:
    def __init__(self, host: Host, path: str, names: tuple[str, str, str] = ISTIO) -> None:
        self.host, self.path, self.names = host, path, names
        self._swaps = 0

    def put(self, identity: Identity) -> None:
        self.host.call(self._put, identity)

    def _put(self, identity: Identity) -> None:
        folder = pathlib.Path(self.path)
        folder.mkdir(parents=True, exist_ok=True)
        self._swaps += 1
        fresh = folder / f"..{self._swaps:04}"
        fresh.mkdir()
        for name, text in zip(self.names, (identity.key, identity.chain, identity.roots)):
            (fresh / name).write_text(text)
            os.chown(fresh / name, facts.UID_AGENT, facts.GID_AGENT)
            os.chmod(fresh / name, 0o600)
        (folder / "..data.new").symlink_to(fresh.name)
        os.rename(folder / "..data.new", folder / "..data")
        for name in self.names:
            if not (folder / name).is_symlink():
                (folder / name).symlink_to(f"..data/{name}")
