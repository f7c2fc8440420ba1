// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/iptc_backend.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/failpoint.h"
#include "base/log.h"
#include "netfilter/cgroup.h"

namespace hawser::netfilter {
namespace {

constexpr int kAttempts = 5;
constexpr std::string_view kJumpTag = "hawser:sha256:";

// FNV-1a over words of 64 bits: tells accidents and other programs' edits, not forgers, who could as well read how it's
// made.
class Fingerprint {
 public:
  void add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    std::size_t i = 0;
    std::uint64_t word = 0;
    // A copy of a fixed size is an instruction; one of any size is a call.
    for (; size - i >= sizeof word; i += sizeof word) {
      std::memcpy(&word, bytes + i, sizeof word);
      mix(word);
    }
    if (i == size) return;
    word = 0;
    std::memcpy(&word, bytes + i, size - i);
    mix(word);
  }
  void add(const std::string& text) { add(text.c_str(), text.size() + 1); }
  std::string text() const {
    char out[17];
    std::snprintf(out, sizeof out, "%016llx", static_cast<unsigned long long>(value_));
    return out;
  }

 private:
  void mix(std::uint64_t word) {
    value_ = (value_ ^ word) * 0x100000001b3U;
    value_ ^= value_ >> 32U;  // else high bits would never reach low ones
  }

  std::uint64_t value_ = 0xcbf29ce484222325U;
};

// Jumps without their comments, which hold the fingerprint.
void add(Fingerprint& print, Family family, XtTable table, const OwnRules& rules) {
  if (!rules.rules()) return;
  print.add(family == Family::kIpv6 ? "ip6" : "ip");
  print.add(to_string(table));
  for (const auto& chain : rules.chains) {
    print.add(chain.name);
    for (const EntryBytes& entry : chain.entries) print.add(entry.data(), entry.size());
  }
  for (const auto& jump : rules.jumps) {
    print.add(jump.from);
    print.add(&jump.position, sizeof jump.position);
  }
}

OwnRules composed(const XtTableForm& form, const Revisions& revisions) {
  OwnRules out;
  for (const XtChain& chain : form.chains) {
    OwnRules::Chain own{chain.name, {}};
    for (const XtEntry& entry : chain.entries)
      own.entries.push_back(compose(entry, {form.family, chain.outgoing, revisions}));
    out.chains.push_back(std::move(own));
  }
  for (const XtJump& jump : form.jumps) out.jumps.push_back({jump.from, 0, EntryBytes()});
  std::sort(out.chains.begin(), out.chains.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  std::sort(out.jumps.begin(), out.jumps.end(), [](const auto& a, const auto& b) { return a.from < b.from; });
  return out;
}

void compose_jumps(OwnRules& rules, const XtTableForm& form, const std::string& comment) {
  rules.jumps.clear();
  for (const XtJump& jump : form.jumps) {
    XtEntry entry;
    entry.comment = comment;
    entry.target = {XtTarget::Kind::kJump, jump.to};
    rules.jumps.push_back({jump.from, 0, compose(entry, {form.family, true})});
  }
  std::sort(rules.jumps.begin(), rules.jumps.end(), [](const auto& a, const auto& b) { return a.from < b.from; });
}

OwnRules only_anchor(const OwnRules& rules) {
  OwnRules out;
  for (const auto& chain : rules.chains)
    if (chain.name == kXtAnchorChain) out.chains.push_back(chain);
  return out;
}

OwnRules without_anchor(const OwnRules& rules) {
  OwnRules out = rules;
  std::erase_if(out.chains, [](const auto& chain) { return chain.name == kXtAnchorChain; });
  return out;
}

// Captures begin before others end, and connection tracking's zones are there before what needs them.
int rank(bool captures, XtTable table) {
  if (table == XtTable::kRaw) return captures ? 0 : 9;
  if (captures) return table == XtTable::kMangle ? 1 : table == XtTable::kFilter ? 2 : 3;
  return table == XtTable::kNat ? 4 : table == XtTable::kFilter ? 5 : 6;
}

// What of ours is in the tables, put together.
class Look {
 public:
  std::map<std::string, Traffic>& counters() { return out_.listing.counters; }

  void add(Family family, XtTable table, const OwnRules& own) {
    const std::string where = std::string(family == Family::kIpv6 ? "ip6 " : "ip ") + to_string(table) + " ";
    out_.anchor = out_.anchor || own.has(kXtAnchorChain);
    out_.rules = out_.rules || own.rules();
    netfilter::add(print_, family, table, own);
    for (const auto& jump : own.jumps) add_jump(where, jump, comment_of(jump.entry.data(), family));
    for (const auto& chain : own.chains) add_chain(where, chain, family);
  }

  Observation result() {
    if (comments_.size() == 1) out_.listing.digest = digest_in(*comments_.begin());
    return std::move(out_);
  }

 private:
  void add_jump(const std::string& where, const OwnRules::Jump& jump, const std::string& comment) {
    const std::string line = where + jump.from + ": rule " + std::to_string(jump.position + 1) + ", " + comment + "\n";
    out_.text += line;
    out_.shape += line;
    comments_.insert(comment);
  }

  void add_chain(const std::string& where, const OwnRules::Chain& chain, Family family) {
    const std::string line = where + chain.name + ": " + std::to_string(chain.entries.size()) + " entries";
    Fingerprint entries;
    for (const EntryBytes& entry : chain.entries) {
      entries.add(entry.data(), entry.size());
      if (comment_of(entry.data(), family).starts_with("hawser:")) ++out_.listing.rules[where + chain.name];
    }
    out_.text += line + "\n";
    out_.shape += line + " " + entries.text() + "\n";
  }

  // Only if the rules are what they were when the comment was made.
  std::string digest_in(const std::string& comment) const {
    const std::size_t end = comment.rfind(':');
    const std::string print = print_.text();
    const bool whole =
        comment.starts_with(kJumpTag) && end > kJumpTag.size() && comment.compare(end + 1, print.size(), print) == 0;
    return whole ? comment.substr(kJumpTag.size(), end - kJumpTag.size()) : std::string();
  }

  Observation out_;
  Fingerprint print_;
  std::set<std::string> comments_;  // of the jumps: one, if all are of the same plan
};

}  // namespace

Status IptcBackend::usable() {
  return revisions_.usable(Family::kIpv4);
}

Status IptcBackend::check(const XtablesForm& form) {
  for (const XtTableForm& table : form.tables)
    if (auto s = revisions_.check(table); !s) return s;
  return {};
}

Result<std::vector<IptcBackend::Slot>> IptcBackend::wanted_slots(const Plan& plan) {
  auto form = emit_xtables(plan);
  if (!form) return form.error();
  // A kernel without IPv6 sends none.
  if (!revisions_.has_family(Family::kIpv6))
    std::erase_if(form->tables, [](const XtTableForm& table) { return table.family == Family::kIpv6; });
  auto cgroups = observe_cgroups(plan);
  if (!cgroups) return cgroups.error();
  if (auto s = check(*form); !s) return s.error();

  std::vector<Slot> out;
  Fingerprint print;
  const auto registered = RegisteredTables::observe();
  for (const Family family : kFamilies)
    for (const XtTable table : kXtTables) {
      const auto wanted = std::find_if(form->tables.begin(), form->tables.end(), [&](const XtTableForm& one) {
        return one.family == family && one.table == table;
      });
      if (wanted == form->tables.end()) {
        if (registered.has(family, table)) out.push_back({family, table, false, true});
        continue;
      }
      Slot slot{family, table, wanted->captures || table == XtTable::kRaw, false};
      slot.wanted = composed(*wanted, revisions_.newest(family));
      add(print, family, table, slot.wanted);
      out.push_back(std::move(slot));
    }
  // The kernel shows a cgroup's name, and rules hold its number: with it, rules of a unit that was restarted are
  // others.
  std::string fingerprint = print.text();
  if (!cgroups->empty()) {
    Fingerprint numbers;
    numbers.add(*cgroups);
    fingerprint += "." + numbers.text();
  }
  const std::string comment = jump_comment(plan.digest, fingerprint);
  for (Slot& slot : out)
    for (const XtTableForm& table : form->tables)
      if (table.family == slot.family && table.table == slot.table) compose_jumps(slot.wanted, table, comment);
  std::stable_sort(out.begin(), out.end(),
                   [](const Slot& a, const Slot& b) { return rank(a.captures, a.table) < rank(b.captures, b.table); });
  return out;
}

Status IptcBackend::apply(const Plan& plan) {
  auto slots = wanted_slots(plan);
  if (!slots) return slots.error();
  auto lock = XtablesLock::take(options_.lock_path, options_.lock_wait);
  if (!lock) return lock.error();
  if (auto written = write(*slots); !written) return written;
  const bool changed = std::any_of(slots->begin(), slots->end(), [](const Slot& slot) { return slot.changed; });
  return changed ? read_back(*slots) : Status();
}

Status IptcBackend::write(std::vector<Slot>& slots) {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = slots[i];
    const auto target = [&slot](const OwnRules& before) {
      slot.before = before;
      // Of a family that isn't captured any more, established connections still live on their anchor.
      if (slot.unwanted) slot.wanted = only_anchor(before);
      slot.changed = before != slot.wanted;
      return slot.wanted;
    };
    auto written = write_one(slot, target);
    if (written) continue;
    take_back(slots, i);
    return written;
  }
  return {};
}

Status IptcBackend::write_one(const Slot& slot, const Change& change) {
  Status written;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    auto table = IptcTable::open(slot.family, slot.table);
    if (!table) return table.error();
    const OwnRules before = (*table)->own();
    const OwnRules after = change(before);
    if (before == after) return {};
    if (failpoint::fails("xtables", to_string(slot.table)))
      return errno_error(errno, "HWS-NF-075", std::string("table ") + to_string(slot.table) + " can't be written");
    written = (*table)->replace(after);
    if (written) written = (*table)->commit();
    if (written || written.error().code() != Code::kAborted) break;
  }
  return written;
}

void IptcBackend::take_back(const std::vector<Slot>& slots, std::size_t count) {
  for (std::size_t i = count; i-- > 0;)
    if (auto s = write_one(slots[i], [&](const OwnRules&) { return slots[i].before; }); !s)
      log::error("a table can't be taken back",
                 {{"id", "HWS-NF-078"}, {"table", to_string(slots[i].table)}, {"error", s.error().to_string()}});
}

Status IptcBackend::read_back(const std::vector<Slot>& slots) {
  for (const Slot& slot : slots) {
    auto table = IptcTable::open(slot.family, slot.table);
    if (!table) return table.error();
    if ((*table)->own() != slot.wanted)
      return Error(Code::kAborted, "HWS-NF-013", "the kernel doesn't list the rules that were applied",
                   std::string("another program changes table ") + to_string(slot.table) +
                       " at the same time and ignores the xtables lock");
  }
  return {};
}

Result<Observation> IptcBackend::observe() {
  Look look;
  const auto registered = RegisteredTables::observe();
  for (const Family family : kFamilies)
    for (const XtTable name : kXtTables) {
      if (!registered.has(family, name)) continue;
      auto table = IptcTable::open(family, name);
      if (!table) return table.error();
      (*table)->count(look.counters());
      look.add(family, name, (*table)->own());
    }
  return look.result();
}

// The last table that was written goes first.
Status IptcBackend::change_all(const Change& change) {
  constexpr XtTable kOrder[] = {XtTable::kNat, XtTable::kFilter, XtTable::kMangle, XtTable::kRaw};
  std::vector<Slot> slots;
  const auto registered = RegisteredTables::observe();
  for (const XtTable table : kOrder)
    for (const Family family : kFamilies)
      if (registered.has(family, table)) slots.push_back({family, table});
  if (slots.empty()) return {};
  auto lock = XtablesLock::take(options_.lock_path, options_.lock_wait);
  if (!lock) return lock.error();
  Status first;
  for (const Slot& slot : slots) {
    // The others go all the same.
    if (auto changed = write_one(slot, change); !changed && first) first = changed;
  }
  return first;
}

Status IptcBackend::remove_rules() {
  return change_all(only_anchor);
}

Status IptcBackend::remove_anchor() {
  return change_all(without_anchor);
}

}  // namespace hawser::netfilter
