# SPDX-License-Identifier: Apache-2.0
"""A control plane that nobody here wrote: stock istiod, a real kube-apiserver and etcd, inside a host of the lab."""
