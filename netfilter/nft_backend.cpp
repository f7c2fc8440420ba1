// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/nft_backend.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>

#include <cerrno>
#include <sstream>
#include <utility>

#include "base/log.h"
#include "netfilter/cgroup.h"

namespace hawser::netfilter {
namespace {

bool mentions(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// libnftables tells the kernel's errno only as text.
Error explain(const std::string& said) {
  const std::string line = first_line(said);
  if (mentions(said, "Operation not permitted"))
    return {Code::kPermissionDenied, "HWS-NF-010", "the kernel refused to change nftables: " + line,
            "run the broker with CAP_NET_ADMIN; if another hawser-broker owns table inet hawser, stop that one"};
  if (mentions(said, "Operation not supported") || mentions(said, "Protocol not supported") ||
      mentions(said, "Invalid argument"))
    return {Code::kFailedPrecondition, "HWS-NF-011", "the kernel lacks a part of nftables that is needed: " + line,
            "Linux 5.12 or newer with nf_tables, nft_chain_nat, nft_redir and nft_fib_inet is needed"};
  if (mentions(said, "No such file or directory"))
    return {Code::kNotFound, "HWS-NF-011", "nftables doesn't know a name: " + line,
            "Linux 5.12 or newer with nf_tables, nft_chain_nat, nft_redir and nft_fib_inet is needed"};
  for (const char* why : {"Cannot allocate memory", "Message too long", "No buffer space available"})
    if (mentions(said, why)) return too_big(line);
  return {Code::kInternal, "HWS-NF-012", "nftables refused the transaction: " + line,
          "nothing was changed; report this"};
}

bool staying(const Plan& plan) {
  return plan.outbound_stays || plan.inbound_stays;
}

constexpr unsigned kOutput = NFT_CTX_OUTPUT_NUMERIC_ALL | NFT_CTX_OUTPUT_TERSE;

std::string without_counters(const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  std::string out;
  while (std::getline(lines, line))
    if (line.find("\tpackets ") == std::string::npos) out += line + "\n";
  return out;
}

Status prepare(nft_ctx* context) {
  if (::nft_ctx_buffer_output(context) != 0 || ::nft_ctx_buffer_error(context) != 0) {
    ::nft_ctx_free(context);
    return Error(Code::kInternal, "HWS-NF-012", "libnftables can't buffer its output");
  }
  // Numbers instead of names, so that nothing depends on /etc/passwd or /etc/services. Thousands of networks needn't
  // be fetched each time: nobody else can edit them.
  ::nft_ctx_output_set_flags(context, kOutput);
  return {};
}

Result<NftContext> prepared_context() {
  auto opened = open_context();
  if (!opened) return opened;
  if (auto prepared = prepare(opened->context); !prepared) return prepared.error();
  return opened;
}

std::string other(const std::string& table) {
  return table == kTable ? kOtherTable : kTable;
}

}  // namespace

NftBackend::NftBackend(NftContext context, Keeper keeper)
    : context_(context), asking_(NETLINK_NETFILTER), keeper_(std::move(keeper)) {}

Result<std::unique_ptr<NftBackend>> NftBackend::make() {
  return make({}, {});
}

Result<std::unique_ptr<NftBackend>> NftBackend::make(std::vector<Inherited> inherited, Keeper keeper,
                                                     const std::string& digest, Succession succession,
                                                     std::optional<Layout> layout) {
  auto context = prepared_context();
  if (!context) return context.error();
  std::unique_ptr<NftBackend> out(new NftBackend(*context, std::move(keeper)));
  out->table_ = kTable;
  out->layout_ = layout ? *layout : out->probe_layout();
  if (!inherited.empty()) {
    const std::size_t chosen = out->choose(inherited, digest);
    for (std::size_t i = 0; i < inherited.size(); ++i)
      if (i != chosen && out->keeper_.forget) out->keeper_.forget(inherited[i].table);
    out->inherit(std::move(inherited[chosen]), succession);
  }
  // Kept from now on, and not only from the first rule: a crash right after a transaction is no gap either.
  if (out->keeper_.keep && !out->predecessor_) out->keeper_.keep(out->context_.socket, out->table_);
  return out;
}

// A transaction that the kernel checks and doesn't commit.
Layout NftBackend::probe_layout() {
  ::nft_ctx_set_dry_run(context_.context, true);
  const auto possible = run("table inet hawser_try { chain c { type nat hook output priority -101; }; }");
  ::nft_ctx_set_dry_run(context_.context, false);
  // Whoever may do nothing at all learns it from apply().
  const bool refused = !possible && possible.error().code() != Code::kPermissionDenied;
  if (refused) log::info("the kernel has no NAT in inet tables, so ip and ip6 tables are used");
  return refused ? Layout::kSplit : Layout::kInet;
}

std::size_t NftBackend::choose(const std::vector<Inherited>& inherited, const std::string& digest) {
  std::size_t chosen = 0;
  const auto there = NftTables::observe(asking_);
  for (std::size_t i = 0; there && i < inherited.size(); ++i) {
    const auto listed = list(*there, inherited[i].table);
    if (!listed || listed->empty()) continue;
    chosen = i;
    if (parse_listing(*listed).digest == digest) break;
  }
  return chosen;
}

void NftBackend::inherit(Inherited inherited, Succession succession) {
  table_ = inherited.table;
  if (succession == Succession::kAdopt) {
    auto taken = take_over(context_, std::move(inherited.socket));
    adopted_ = static_cast<bool>(taken);
    if (!taken) log::warn("nftables rules can't be adopted", {{"error", taken.error().to_string()}});
    return;
  }
  predecessor_table_ = table_;
  predecessor_ = std::move(inherited.socket);
  table_ = other(predecessor_table_);
}

NftBackend::~NftBackend() {
  ::nft_ctx_free(context_.context);
}

Result<std::string> NftBackend::run(const std::string& commands) {
  const int rc = ::nft_run_cmd_from_buffer(context_.context, commands.c_str());
  // Fetching a buffer also empties it, so both are fetched each time.
  const char* output = ::nft_ctx_get_output_buffer(context_.context);
  const char* error = ::nft_ctx_get_error_buffer(context_.context);
  if (rc != 0) return explain(error == nullptr ? "" : error);
  return std::string(output == nullptr ? "" : output);
}

Result<std::string> NftBackend::list(const NftTables& there, const std::string& table, Detail detail) {
  std::string out;
  ::nft_ctx_output_set_flags(context_.context,
                             detail == Detail::kRules ? kOutput : kOutput & ~unsigned{NFT_CTX_OUTPUT_TERSE});
  for (const std::string& family : table_families(layout_)) {
    if (!there.has({family}, table)) continue;
    auto listed = run("list table " + family + " " + table);
    if (!listed && listed.error().code() != Code::kNotFound) return listed;
    if (listed) out += *listed;
  }
  return out;
}

// One of a pair is a leftover that nobody owns.
Status NftBackend::delete_tables(const std::string& table) {
  if (layout_ == Layout::kInet) {
    auto removed = run(emit_remove_rules(table));
    return removed ? Status() : removed.error();
  }
  const auto there = NftTables::observe(asking_);
  if (!there) return there.error();
  std::string commands;
  for (const std::string& family : table_families(layout_))
    if (there->has({family}, table)) commands += "delete table " + family + " " + table + "\n";
  if (commands.empty()) return {};
  auto removed = run(commands);
  return removed ? Status() : removed.error();
}

std::string NftBackend::reason() const {
  return layout_ == Layout::kInet ? "the kernel has nf_tables"
                                  : "the kernel has nf_tables, without NAT in tables of both families";
}

// libnftables never binds its socket, so the kernel chose.
std::uint32_t NftBackend::port_id() const {
  sockaddr_nl address{};
  socklen_t size = sizeof address;
  if (::getsockname(context_.socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return address.nl_pid;
}

Status NftBackend::repair(const Plan& plan) {
  repairing_ = true;
  auto applied = apply(plan);
  repairing_ = false;
  return applied;
}

Status NftBackend::apply(const Plan& plan) {
  if (predecessor_) return succeed(plan);
  auto applied = apply_to(plan, table_);
  const bool refused = !applied && applied.error().code() == Code::kPermissionDenied;
  if (!refused || !adopted_) {
    adopted_ = adopted_ && (!applied || !*applied);
    return applied ? Status() : applied.error();
  }
  log::warn("the adopted rules can't be changed, so they are replaced", {{"error", applied.error().to_string()}});
  if (auto anew = start_anew(); !anew) return anew;
  return succeed(plan);
}

// Whether anything had to be changed.
Result<bool> NftBackend::apply_to(const Plan& plan, const std::string& table) {
  auto generation = observe_cgroups(plan);
  if (!generation) return generation.error();
  if (plan.outbound_stays) *generation += "+out";
  if (plan.inbound_stays) *generation += "+in";
  const auto there = NftTables::observe(asking_);
  if (!there) return there.error();
  if (!repairing_) {
    auto already = in_force(plan, *there, table, *generation);
    if (already && *already && staying(plan)) already = untouched(*there, table);
    if (!already) return already.error();
    if (*already) return false;
  }
  const std::string commands =
      emit_nft(plan, existing(*there, table), table, layout_, *generation, existing(*there, kStaysTable));
  if (auto applied = run(commands); !applied) return applied.error();
  if (auto seen = look_again(plan, table, *generation); !seen) return seen.error();
  return true;
}

Status NftBackend::look_again(const Plan& plan, const std::string& table, const std::string& generation) {
  const auto there = NftTables::observe(asking_);
  if (!there) return there.error();
  if (staying(plan)) {
    const auto seen = read(*there, table);
    if (!seen) return seen.error();
    shape_ = seen->shape;
  }
  const auto found = in_force(plan, *there, table, generation);
  if (!found) return found.error();
  if (*found) return {};
  return Error(Code::kAborted, "HWS-NF-013", "the kernel doesn't list the rules that were applied",
               "another program changes nftables at the same time; look with `nft monitor`");
}

// As far as numbers tell: nobody else can edit a table that is owned.
Result<bool> NftBackend::in_force(const Plan& plan, const NftTables& there, const std::string& table,
                                  const std::string& generation) {
  const auto families = table_families(layout_);
  if (!there.has(families, kAnchorTable) || !there.have_comment(families, table, plan_comment(plan, generation)))
    return false;
  std::map<std::string, std::size_t> rules;
  for (const std::string& name : {table, std::string(kStaysTable)}) {
    const auto found = tagged_rules(asking_, families, name);
    if (!found) return found.error();
    for (const auto& [chain, count] : *found) rules[chain] += count;
  }
  for (const Hook hook : kHooks)
    if (rules[to_string(hook)] != count_lines(plan, hook, layout_)) return false;
  return true;
}

// What isn't owned may have been edited.
Result<bool> NftBackend::untouched(const NftTables& there, const std::string& table) {
  const auto found = read(there, table);
  if (!found) return found.error();
  return found->shape == shape_;
}

Existing NftBackend::existing(const NftTables& there, const std::string& table) const {
  return there.has(table_families(layout_), table) ? Existing::kRules : Existing::kNothing;
}

Status NftBackend::start_anew() {
  // The descriptor is duplicated first: closing the context mustn't close the last one.
  UniqueFd held(::fcntl(context_.socket, F_DUPFD_CLOEXEC, 0));
  if (!held) return errno_error(errno, "HWS-NF-014", "the stored nftables socket can't be kept open");
  auto context = prepared_context();
  if (!context) return context.error();
  ::nft_ctx_free(context_.context);
  context_ = *context;
  adopted_ = false;
  predecessor_ = std::move(held);
  predecessor_table_ = table_;
  table_ = other(predecessor_table_);
  return {};
}

// Of two chains of the same priority the newer one decides, so the new rules are in force at once.
Status NftBackend::succeed(const Plan& plan) {
  if (keeper_.keep) keeper_.keep(context_.socket, table_);
  if (auto applied = apply_to(plan, table_); !applied) {
    if (applied.error().id() == "HWS-NF-013") (void)delete_tables(table_);
    return applied.error();
  }
  close_predecessor();
  return {};
}

void NftBackend::close_predecessor() {
  if (keeper_.forget) keeper_.forget(predecessor_table_);
  predecessor_.reset();
}

Result<Observation> NftBackend::observe() {
  const auto there = NftTables::observe(asking_);
  if (!there) return there.error();
  return read(*there, predecessor_ ? predecessor_table_ : table_);
}

Result<Counters> NftBackend::counters() {
  Counters out;
  for (const std::string& table : {predecessor_ ? predecessor_table_ : table_, std::string(kStaysTable)}) {
    const auto found = named_counters(asking_, table_families(layout_), table);
    if (!found) return found.error();
    for (const auto& [name, traffic] : *found) {
      out[name].packets += traffic.packets;
      out[name].bytes += traffic.bytes;
    }
  }
  return out;
}

Result<Observation> NftBackend::read(const NftTables& there, const std::string& table) {
  auto owned = list(there, table);
  if (!owned) return owned.error();
  auto staying = list(there, kStaysTable, Detail::kElements);
  if (!staying) return staying.error();
  auto anchor = list(there, kAnchorTable);
  if (!anchor) return anchor.error();
  Observation out;
  out.rules = !owned->empty() || !staying->empty();
  out.anchor = !anchor->empty();
  out.listing = parse_listing(*owned + *staying);
  out.text = *owned + *staying + *anchor;
  out.shape = without_counters(out.text);
  return out;
}

Status NftBackend::remove_rules() {
  shape_.clear();
  const auto there = NftTables::observe(asking_);
  if (!there) return there.error();
  if (existing(*there, kStaysTable) == Existing::kRules)
    if (auto removed = delete_tables(kStaysTable); !removed) return removed;
  if (predecessor_) {
    if (keeper_.keep) keeper_.keep(context_.socket, table_);
    close_predecessor();
    return {};
  }
  if (existing(*there, table_) == Existing::kNothing) return {};
  auto removed = delete_tables(table_);
  if (removed) {
    adopted_ = false;
    return {};
  }
  if (!adopted_ || removed.error().code() != Code::kPermissionDenied) return removed;
  if (auto anew = start_anew(); !anew) return anew;
  return remove_rules();
}

Status NftBackend::remove_anchor() {
  const auto there = NftTables::observe(asking_);
  if (!there) return there.error();
  return existing(*there, kAnchorTable) == Existing::kNothing ? Status() : delete_tables(kAnchorTable);
}

}  // namespace hawser::netfilter
