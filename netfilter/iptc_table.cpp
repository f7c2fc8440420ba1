// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/iptc_table.h"

#include <libiptc/libiptc.h>

// Has no guard of its own for C++ (1.8.9).
extern "C" {
#include <libiptc/libip6tc.h>
}
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <tuple>

#include "netfilter/backend.h"
#include "netfilter/xtables_revisions.h"

namespace hawser::netfilter {
namespace {

// Both libraries' functions under one name.
struct Ip4 {
  using Entry = ipt_entry;
  static constexpr Family kFamily = Family::kIpv4;
  static constexpr auto init = ::iptc_init;
  static constexpr auto free = ::iptc_free;
  static constexpr auto first_chain = ::iptc_first_chain;
  static constexpr auto next_chain = ::iptc_next_chain;
  static constexpr auto first_rule = ::iptc_first_rule;
  static constexpr auto next_rule = ::iptc_next_rule;
  static constexpr auto target = ::iptc_get_target;
  static constexpr auto builtin = ::iptc_builtin;
  static constexpr auto insert = ::iptc_insert_entry;
  static constexpr auto append = ::iptc_append_entry;
  static constexpr auto erase = ::iptc_delete_num_entry;
  static constexpr auto flush = ::iptc_flush_entries;
  static constexpr auto create = ::iptc_create_chain;
  static constexpr auto erase_chain = ::iptc_delete_chain;
  static constexpr auto commit = ::iptc_commit;
  static constexpr auto error = ::iptc_strerror;
};

struct Ip6 {
  using Entry = ip6t_entry;
  static constexpr Family kFamily = Family::kIpv6;
  static constexpr auto init = ::ip6tc_init;
  static constexpr auto free = ::ip6tc_free;
  static constexpr auto first_chain = ::ip6tc_first_chain;
  static constexpr auto next_chain = ::ip6tc_next_chain;
  static constexpr auto first_rule = ::ip6tc_first_rule;
  static constexpr auto next_rule = ::ip6tc_next_rule;
  static constexpr auto target = ::ip6tc_get_target;
  static constexpr auto builtin = ::ip6tc_builtin;
  static constexpr auto insert = ::ip6tc_insert_entry;
  static constexpr auto append = ::ip6tc_append_entry;
  static constexpr auto erase = ::ip6tc_delete_num_entry;
  static constexpr auto flush = ::ip6tc_flush_entries;
  static constexpr auto create = ::ip6tc_create_chain;
  static constexpr auto erase_chain = ::ip6tc_delete_chain;
  static constexpr auto commit = ::ip6tc_commit;
  static constexpr auto error = ::ip6tc_strerror;
};

Error denied(Family family) {
  return {Code::kPermissionDenied, "HWS-NF-073", std::string("the kernel refused access to ") + xtables_module(family),
          "run the broker with CAP_NET_ADMIN and CAP_NET_RAW"};
}

Error no_memory(XtTable table, Family family) {
  return too_big(std::string("no memory for table ") + to_string(table) + " of " + xtables_module(family));
}

bool ours(const char* name) {
  return std::strncmp(name, kXtPrefix, std::strlen(kXtPrefix)) == 0;
}

template <typename Ip>
class TableOf final : public IptcTable {
 public:
  TableOf(xtc_handle* handle, XtTable table) : handle_(handle), table_(table) {}
  ~TableOf() override {
    if (handle_ != nullptr) Ip::free(handle_);
  }
  TableOf(const TableOf&) = delete;
  TableOf& operator=(const TableOf&) = delete;

  OwnRules own() override {
    OwnRules out;
    for (const std::string& name : chains()) {
      const bool mine = ours(name.c_str());
      OwnRules::Chain chain{name, {}};
      std::size_t position = 0;
      for (auto* entry = Ip::first_rule(name.c_str(), handle_); entry != nullptr;
           entry = Ip::next_rule(entry, handle_), ++position) {
        const char* target = Ip::target(entry, handle_);
        if (mine) {
          chain.entries.push_back(bytes_of(entry, target));
        } else if (ours(target)) {
          out.jumps.push_back({name, position, bytes_of(entry, target)});
        }
      }
      if (mine) out.chains.push_back(std::move(chain));
    }
    std::sort(out.chains.begin(), out.chains.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    std::sort(out.jumps.begin(), out.jumps.end(),
              [](const auto& a, const auto& b) { return std::tie(a.from, a.position) < std::tie(b.from, b.position); });
    return out;
  }

  void count(std::map<std::string, Traffic>& counters) override {
    constexpr std::string_view kTag = "hawser:";
    for (const std::string& name : chains()) {
      if (!ours(name.c_str())) continue;
      for (auto* entry = Ip::first_rule(name.c_str(), handle_); entry != nullptr;
           entry = Ip::next_rule(entry, handle_)) {
        std::string comment = comment_of(reinterpret_cast<const unsigned char*>(entry), Ip::kFamily);
        if (!comment.starts_with(kTag)) continue;
        comment.erase(0, kTag.size());
        std::replace(comment.begin(), comment.end(), ':', '_');
        Traffic& traffic = counters[comment];
        traffic.packets += entry->counters.pcnt;
        traffic.bytes += entry->counters.bcnt;
      }
    }
  }

  Status replace(const OwnRules& rules) override {
    for (const std::string& name : chains()) {
      if (ours(name.c_str())) {
        if (Ip::flush(name.c_str(), handle_) == 0) return failed("flush", name);
      } else if (auto s = erase_jumps(name); !s) {
        return s;
      }
    }
    for (const std::string& name : chains())
      if (ours(name.c_str()) && Ip::erase_chain(name.c_str(), handle_) == 0) return failed("delete", name);
    for (const auto& chain : rules.chains)
      if (Ip::create(chain.name.c_str(), handle_) == 0) return failed("create", chain.name);
    for (const auto& chain : rules.chains)
      for (const EntryBytes& entry : chain.entries)
        if (Ip::append(chain.name.c_str(), entry_of(entry), handle_) == 0) return failed("fill", chain.name);
    for (const auto& jump : rules.jumps)
      if (Ip::insert(jump.from.c_str(), entry_of(jump.entry), 0, handle_) == 0) return failed("jump from", jump.from);
    return {};
  }

  Status commit() override {
    if (Ip::commit(handle_) != 0) return {};
    const int error = errno;
    if (error == EAGAIN)
      return Error(Code::kAborted, "HWS-NF-080", std::string("another program changed table ") + to_string(table_),
                   "try again; programs that ignore the xtables lock can be told to wait for it");
    if (error == EPERM || error == EACCES) return denied(Ip::kFamily);
    if (error == ENOMEM) return no_memory(table_, Ip::kFamily);
    return Error(Code::kInternal, "HWS-NF-075",
                 std::string("the kernel refused table ") + to_string(table_) + " of " + xtables_module(Ip::kFamily) +
                     ": " + Ip::error(error) + " (" + std::strerror(error) + ")",
                 "nothing was changed; the kernel's log may say more");
  }

  std::vector<std::string> chains() override {
    std::vector<std::string> out;
    for (const char* name = Ip::first_chain(handle_); name != nullptr; name = Ip::next_chain(handle_))
      out.emplace_back(name);
    return out;
  }

  void each(const std::function<void(const Entry&)>& look) override {
    for (const std::string& name : chains())
      for (auto* entry = Ip::first_rule(name.c_str(), handle_); entry != nullptr; entry = Ip::next_rule(entry, handle_))
        look({name, Ip::kFamily, reinterpret_cast<const unsigned char*>(entry), Ip::target(entry, handle_)});
  }

  Status erase(const std::vector<std::string>& names, const Theirs& theirs) override {
    const auto named = [&](const std::string& name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    for (const std::string& name : chains()) {
      if (named(name)) {
        if (Ip::flush(name.c_str(), handle_) == 0) return failed("flush", name);
      } else if (auto s = erase_if(name,
                                   [&](const auto* entry, const std::string& target) {
                                     return named(target) ||
                                            theirs({name, Ip::kFamily, reinterpret_cast<const unsigned char*>(entry),
                                                    target});
                                   });
                 !s) {
        return s;
      }
    }
    for (const std::string& name : names)
      if (Ip::erase_chain(name.c_str(), handle_) == 0) return failed("delete", name);
    return {};
  }

 private:
  EntryBytes bytes_of(const typename Ip::Entry* entry, const char* target) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(entry);
    const auto* named = reinterpret_cast<const xt_entry_target*>(bytes + entry->target_offset);
    const bool verdict = named->u.user.name[0] == '\0';
    return canonical(bytes, Ip::kFamily, verdict ? std::string(target) : std::string());
  }

  static const typename Ip::Entry* entry_of(const EntryBytes& bytes) {
    return reinterpret_cast<const typename Ip::Entry*>(bytes.data());
  }

  Status erase_jumps(const std::string& name) {
    return erase_if(name, [](const auto*, const std::string& target) { return ours(target.c_str()); });
  }

  template <typename Test>
  Status erase_if(const std::string& name, Test test) {
    std::vector<unsigned> found;
    unsigned position = 0;
    for (auto* entry = Ip::first_rule(name.c_str(), handle_); entry != nullptr;
         entry = Ip::next_rule(entry, handle_), ++position)
      if (test(entry, std::string(Ip::target(entry, handle_)))) found.push_back(position);
    for (auto at = found.rbegin(); at != found.rend(); ++at)
      if (Ip::erase(name.c_str(), *at, handle_) == 0) return failed("remove a rule from", name);
    return {};
  }

  Status failed(const char* what, const std::string& chain) const {
    return Error(Code::kInternal, "HWS-NF-075",
                 std::string("libiptc can't ") + what + " chain " + chain + ": " + Ip::error(errno),
                 "nothing was changed; report this");
  }

  xtc_handle* handle_;
  XtTable table_;
};

template <typename Ip>
Result<std::unique_ptr<IptcTable>> open_table(XtTable table) {
  xtc_handle* handle = Ip::init(to_string(table));
  if (handle != nullptr) return std::unique_ptr<IptcTable>(new TableOf<Ip>(handle, table));
  const int error = errno;
  if (error == EPERM || error == EACCES) return denied(Ip::kFamily);
  if (error == ENOMEM) return no_memory(table, Ip::kFamily);
  return Error(Code::kFailedPrecondition, "HWS-NF-074",
               std::string("the kernel has no table ") + to_string(table) + " of " + xtables_module(Ip::kFamily) +
                   ": " + Ip::error(error),
               std::string("load the modules ") + xtables_module(Ip::kFamily) + " and " +
                   (Ip::kFamily == Family::kIpv6 ? "ip6table_" : "iptable_") + to_string(table) +
                   ", or use a kernel with nf_tables");
}

}  // namespace

bool OwnRules::has(const std::string& chain) const {
  return std::any_of(chains.begin(), chains.end(), [&](const Chain& one) { return one.name == chain; });
}

bool OwnRules::rules() const {
  return !jumps.empty() ||
         std::any_of(chains.begin(), chains.end(), [](const Chain& one) { return one.name != kXtAnchorChain; });
}

Result<std::unique_ptr<IptcTable>> IptcTable::open(Family family, XtTable table) {
  return family == Family::kIpv6 ? open_table<Ip6>(table) : open_table<Ip4>(table);
}

RegisteredTables RegisteredTables::observe() {
  RegisteredTables out;
  out.unknown_ = ::access("/proc/thread-self/net", X_OK) != 0;
  const char* paths[] = {"/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"};
  for (int i = 0; i < 2; ++i) {
    std::ifstream names(paths[i]);
    for (std::string name; std::getline(names, name);) out.names_[i].insert(name);
  }
  return out;
}

bool RegisteredTables::has(Family family, XtTable table) const {
  return unknown_ || names_[family == Family::kIpv6 ? 1 : 0].contains(to_string(table));
}

Result<std::vector<std::string>> legacy_chains(Family family, XtTable table) {
  if (!RegisteredTables::observe().has(family, table)) return std::vector<std::string>();
  auto opened = IptcTable::open(family, table);
  if (!opened && opened.error().code() == Code::kFailedPrecondition) return std::vector<std::string>();
  if (!opened) return opened.error();
  return (*opened)->chains();
}

}  // namespace hawser::netfilter
