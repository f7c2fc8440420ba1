// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/withdraw.h"

#include <sysexits.h>

#include "base/log.h"
#include "netfilter/detect.h"
#include "netfilter/iptc_backend.h"
#include "netfilter/nft_backend.h"
#include "netfilter/routing.h"

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
  if (left->rules || left->lasting())
    return Error(
        Code::kFailedPrecondition, "HWS-BR-070", "rules are left after their removal",
        std::string("stop hawser-broker.service, then: ") +
            (std::string(backend.name()) == "nftables" ? "nft delete table inet hawser" : "hawser-broker --withdraw"));
  return {};
}

}  // namespace

int withdraw() {
  log::init("hawser-broker", log::Level::kInfo, log::Format::kText);
  int code = EX_OK;
  const auto judge = [&code](const Status& done) {
    if (done) return;
    log::error(done.error().to_string());
    if (code == EX_OK) code = done.error().code() == Code::kPermissionDenied ? EX_NOPERM : EX_UNAVAILABLE;
  };
  netfilter::IptcBackend xtables;
  judge(remove_all(xtables));
  // A kernel without nftables has no rules of it.
  const auto usable = netfilter::nftables_usable();
  if (usable || usable.error().code() == Code::kPermissionDenied) {
    auto nft = netfilter::NftBackend::make();
    judge(nft ? remove_all(**nft) : Status(nft.error()));
  }
  judge(netfilter::trim_routing());
  return code;
}

}  // namespace hawser::broker
