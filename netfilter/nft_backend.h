// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <memory>
#include <string>

#include "netfilter/backend.h"

struct nft_ctx;

namespace hawser::netfilter {

// What: Backend over libnftables. The context, and with it the netlink socket that owns the table, lives as long as the
// object: the kernel removes the rules when it's destroyed. Closing the socket is also what costs most of `nft -f`'s
// time; over a kept one a transaction takes about a millisecond.
// Threading, failure: see Backend.
class NftBackend final : public Backend {
 public:
  static Result<std::unique_ptr<NftBackend>> make();
  ~NftBackend() override;

  const char* name() const override { return "nftables"; }
  Status apply(const Plan& plan) override;
  Result<Observation> observe() override;
  Status remove_rules() override;
  Status remove_anchor() override;

 private:
  explicit NftBackend(nft_ctx* context) : context_(context) {}

  // The command's output.
  Result<std::string> run(const std::string& commands);
  // Empty if there is no such table.
  Result<std::string> list(const std::string& table);

  nft_ctx* context_;
};

}  // namespace hawser::netfilter
