# SPDX-License-Identifier: Apache-2.0
"""A host that joins the mesh for one test, with settings of that test's own."""

from __future__ import annotations

import contextlib
import pathlib
import typing

from .world import World


@contextlib.contextmanager
def joined(world: World, drop_in: str, settings: str) -> typing.Iterator[None]:
    """In the mesh with these settings in the file `drop_in`; as before afterwards, also when the test fails.

    A host that a failed test left in the mesh would fail each test after it in the module, and hide which one did it.
    """
    world.host.write(drop_in, settings)
    try:
        world.vm.join(world.bundle)
        world.vm.wait("REGISTERED")
        yield
        world.vm.leave()
    except BaseException:
        world.vm.cli("leave", check=False)
        raise
    finally:
        world.host.call(lambda: pathlib.Path(drop_in).unlink(missing_ok=True))
