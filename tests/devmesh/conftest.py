# SPDX-License-Identifier: Apache-2.0
from devmesh.fixtures import mesh, mesh_file

__all__ = ["mesh", "mesh_file"]
