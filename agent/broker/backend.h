// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "broker/fd_store.h"
#include "netfilter/backend.h"
#include "netfilter/detect.h"

namespace hawser::broker {

// What: the backend for this kernel (netfilter/detect.h), with what a predecessor left: rules in legacy xtables, which
// have no owner, or the sockets that own tables of nftables, from systemd's store. `digest` is that of the plan that
// was in force; `succession` as NftBackend's. Threading: blocking, milliseconds; `store` must outlive the backend.
// Failure: HWS-NF-077, those of NftBackend::make().
Result<std::unique_ptr<netfilter::Backend>> make_backend(FdStore& store, netfilter::BackendKind wanted,
                                                         const std::string& digest, const std::string& succession);

}  // namespace hawser::broker
