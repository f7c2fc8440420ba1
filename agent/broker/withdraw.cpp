// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/withdraw.h"

#include <sysexits.h>

#include "base/log.h"
#include "netfilter/nft_backend.h"

namespace hawser::broker {
namespace {

// Both are tried, whatever comes of the first: one rule left is better than two.
Status remove_all(netfilter::Backend& backend) {
  auto rules = backend.remove_rules();
  auto anchor = backend.remove_anchor();
  if (!rules) return rules;
  if (!anchor) return anchor;
  auto left = backend.observe();
  if (!left) return left.error();
  if (left->rules || left->anchor)
    return Error(Code::kFailedPrecondition, "HWS-BR-070", "rules are left after their removal",
                 "stop hawser-broker.service, then: nft delete table inet hawser");
  return {};
}

}  // namespace

int withdraw() {
  log::init("hawser-broker", log::Level::kInfo, log::Format::kText);
  auto backend = netfilter::NftBackend::make();
  if (!backend) {
    log::error(backend.error().to_string());
    return EX_UNAVAILABLE;
  }
  if (auto removed = remove_all(**backend); !removed) {
    log::error(removed.error().to_string());
    return removed.error().code() == Code::kPermissionDenied ? EX_NOPERM : EX_UNAVAILABLE;
  }
  return EX_OK;
}

}  // namespace hawser::broker
