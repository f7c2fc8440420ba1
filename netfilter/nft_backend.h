// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "netfilter/backend.h"
#include "netfilter/emit_nft.h"
#include "netfilter/nft_socket.h"
#include "netfilter/nft_tables.h"

namespace hawser::netfilter {

// What: Backend over libnftables. The socket that owns the table lives as long as somebody holds it open: this object,
// and whoever got it from keep(). When the last one closes it, the kernel removes the rules.
//
// Succession: make() with the socket of a predecessor goes on with its table, which each later change then replaces in
// one transaction. Where the kernel refuses that (or Succession::kReplace), the next change makes a table of another
// name, which is in force before the old socket is closed. Either way no packet meets a host without rules.
// Threading, failure: see Backend. HWS-NF-014 (a socket that can't be taken over) is only told in the log.
class NftBackend final : public Backend {
 public:
  enum class Succession { kAdopt, kReplace };
  // Called with the socket that must outlive us and its table's name; and with the name of one that needn't any more.
  struct Keeper {
    std::function<void(int socket, const std::string& table)> keep;
    std::function<void(const std::string& table)> forget;
  };
  struct Inherited {
    UniqueFd socket;
    std::string table;
  };

  static Result<std::unique_ptr<NftBackend>> make();
  // Without a layout, the kernel is asked for one.
  // Of several (a predecessor died in the middle of a succession) the one with `digest` is gone on with, if it's there.
  static Result<std::unique_ptr<NftBackend>> make(std::vector<Inherited> inherited, Keeper keeper,
                                                  const std::string& digest = {},
                                                  Succession succession = Succession::kAdopt,
                                                  std::optional<Layout> layout = {});
  ~NftBackend() override;

  const char* name() const override { return "nftables"; }
  std::string reason() const override;
  std::uint32_t port_id() const override;
  Status apply(const Plan& plan) override;
  Status repair(const Plan& plan) override;
  Result<Observation> observe() override;
  Result<Counters> counters() override;
  Status remove_rules() override;
  Status remove_anchor() override;

 private:
  NftBackend(NftContext context, Keeper keeper);

  std::size_t choose(const std::vector<Inherited>& inherited, const std::string& digest);
  void inherit(Inherited inherited, Succession succession);
  // Lets a context without the predecessor's table take this one's place. The predecessor's stays in force.
  Status start_anew();
  Layout probe_layout();
  Result<bool> apply_to(const Plan& plan, const std::string& table);
  Status succeed(const Plan& plan);
  void close_predecessor();
  // The command's output.
  Result<std::string> run(const std::string& commands);
  // Empty if there is no such table. Elements of sets only where somebody else could have changed them.
  enum class Detail { kRules, kElements };
  Result<std::string> list(const NftTables& there, const std::string& table, Detail detail = Detail::kRules);
  // All of ours, as the kernel lists it; `table` is the owned one.
  Result<Observation> read(const NftTables& there, const std::string& table);
  Existing existing(const NftTables& there, const std::string& table) const;
  Result<bool> in_force(const Plan& plan, const NftTables& there, const std::string& table,
                        const std::string& generation);
  Result<bool> untouched(const NftTables& there, const std::string& table);
  Status look_again(const Plan& plan, const std::string& table, const std::string& generation);
  Status delete_tables(const std::string& table);

  NftContext context_;
  NetlinkSocket asking_;
  Keeper keeper_;
  Layout layout_ = Layout::kInet;
  bool repairing_ = false;
  std::string table_;     // ours, or the one that we'd make
  bool adopted_ = false;  // our socket was a predecessor's, and nothing has been changed with it yet
  std::string shape_;     // of what stays, as it was after the last apply()
  UniqueFd predecessor_;  // its socket, where it couldn't be adopted
  std::string predecessor_table_;
};

}  // namespace hawser::netfilter
