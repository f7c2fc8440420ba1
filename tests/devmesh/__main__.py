# SPDX-License-Identifier: Apache-2.0
"""python -m devmesh --config FILE serve | bundle DIR | issue ACCOUNT | token ACCOUNT | fault [KEY=VALUE …] [--reset]"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import pathlib
import signal
import sys

from devmesh import bundle, view_client
from devmesh import config as configuration
from devmesh.ca import CertificateAuthority, write_private
from devmesh.server import Devmesh
from devmesh.tokens import AUDIENCE, TokenIssuer


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        return options.run(options)
    except configuration.ConfigError as error:
        print(f"devmesh: {error}", file=sys.stderr)
        return os.EX_CONFIG
    except OSError as error:
        print(f"devmesh: {error}", file=sys.stderr)
        return os.EX_OSERR


def _serve(options: argparse.Namespace) -> int:
    asyncio.run(_run(Devmesh(options.config)))
    return 0


async def _run(mesh: Devmesh) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await mesh.start()
        await ended.wait()
    finally:
        await mesh.stop()


def _bundle(options: argparse.Namespace) -> int:
    config = configuration.load(options.config)
    bundle.write(config, options.directory, options.group, token_ttl=options.ttl)
    return 0


def _issue(options: argparse.Namespace) -> int:
    config = configuration.load(options.config)
    authority = CertificateAuthority.of(config)
    ttl = config.certificates.default_ttl if options.ttl is None else options.ttl
    leaf = authority.issue(ttl, spiffe_id=config.spiffe(options.namespace, options.account))
    if options.directory is None:
        print(json.dumps({"key": leaf.key, "chain": leaf.chain, "roots": leaf.roots}, indent=1))
        return 0
    options.directory.mkdir(parents=True, exist_ok=True)
    (options.directory / "cert-chain.pem").write_text(leaf.chain)
    (options.directory / "root-cert.pem").write_text(leaf.roots)
    write_private(options.directory / "key.pem", leaf.key)
    return 0


def _token(options: argparse.Namespace) -> int:
    config = configuration.load(options.config)
    ttl = config.certificates.token_ttl if options.ttl is None else options.ttl
    issuer = TokenIssuer(config.state_dir)
    print(issuer.issue(options.namespace, options.account, ttl, audience=options.audience))
    return 0


def _fault(options: argparse.Namespace) -> int:
    """Makes the plane that runs with this configuration misbehave, or tells how it does."""
    socket = configuration.load(options.config).view_socket
    status, answer = view_client.request(socket, "DELETE" if options.reset else "GET", "/faults")
    if options.changes and status == 200:
        body = json.dumps(dict(_change(word) for word in options.changes)).encode()
        status, answer = view_client.request(socket, "POST", "/faults", body)
    print(answer.decode().strip(), file=sys.stdout if status == 200 else sys.stderr)
    return 0 if status == 200 else os.EX_DATAERR


def _change(word: str) -> tuple[str, object]:
    key, _, value = word.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devmesh", description="A small control plane and CA for tests and the demo.")
    parser.add_argument("--config", type=pathlib.Path, required=True, help="the YAML file")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    verbs = parser.add_subparsers(required=True)

    serve = verbs.add_parser("serve", help="run until SIGTERM")
    serve.set_defaults(run=_serve)

    bundle_verb = verbs.add_parser("bundle", help="write the five-file onboarding bundle")
    bundle_verb.add_argument("directory", type=pathlib.Path)
    bundle_verb.add_argument("--group", help="workload group; default: the first")
    bundle_verb.add_argument("--ttl", type=configuration.seconds, help="of the token, e.g. 1h")
    bundle_verb.set_defaults(run=_bundle)

    fault = verbs.add_parser("fault", help="see and change the faults of the running plane (faults.py lists them)")
    fault.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="VALUE is JSON, or a word")
    fault.add_argument("--reset", action="store_true", help="good behaviour first")
    fault.set_defaults(run=_fault)

    issue = verbs.add_parser("issue", help="a certificate for a workload, as JSON or as files")
    issue.add_argument("--directory", type=pathlib.Path, help="write key.pem, cert-chain.pem, root-cert.pem there")
    issue.set_defaults(run=_issue)
    token = verbs.add_parser("token", help="a bearer token")
    token.add_argument("--audience", default=AUDIENCE)
    token.set_defaults(run=_token)
    for verb in (issue, token):
        verb.add_argument("account", help="service account")
        verb.add_argument("--namespace", default="default")
        verb.add_argument("--ttl", type=configuration.seconds, help="e.g. 90s; negative: already expired (write --ttl=-90s)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
