// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include "base/fd.h"
#include "base/result.h"

struct nft_ctx;

// What: the netlink socket inside a libnftables context, which the kernel takes for the owner of tables. libnftables
// neither gives it out nor takes one, so it's found among our descriptors, and replaced by dup3(2). That works since
// libnftables never binds its socket, and so checks no port id. Threading: none may open descriptors at the same time.
// Failure: HWS-NF-010 (not permitted), HWS-NF-011 (the kernel has no nf_tables), HWS-NF-014.
namespace hawser::netfilter {

struct NftContext {
  nft_ctx* context = nullptr;
  int socket = -1;  // the context's
};
Result<NftContext> open_context();

// To be asked before a context is made: libnftables ends the process where it gets no socket, and tells on stderr who
// may not use it.
Status nftables_answer();

// `inherited` becomes the context's socket, with what a predecessor left unread thrown away. Afterwards the context
// owns the predecessor's tables; `inherited` is closed.
Status take_over(const NftContext& context, UniqueFd inherited);

// Is this a netlink socket of nf_tables at all?
bool is_nft_socket(int fd);

}  // namespace hawser::netfilter
