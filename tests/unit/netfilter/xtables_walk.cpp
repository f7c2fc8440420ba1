// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// Source: net/ipv4/netfilter/ip_tables.c (ipt_do_table: a goto leaves no way back, so the end of a chain and RETURN
// lead to where the last jump was), and the order of the tables in include/uapi/linux/netfilter_ipv4.h.
#include "xtables_walk.h"

#include <algorithm>

namespace hawser::netfilter {
namespace {

using Kind = Outcome::Kind;
constexpr std::size_t kMaxSteps = 100'000;

class XtWalk {
 public:
  XtWalk(const XtablesForm& form, const Packet& packet) : form_(form), packet_(packet) {}

  Outcome go() {
    if (packet_.outgoing) {
      const bool on = table(XtTable::kRaw, "OUTPUT") && table(XtTable::kMangle, "OUTPUT") &&
                      table(XtTable::kNat, "OUTPUT") && table(XtTable::kFilter, "OUTPUT");
      if (on && (packet_.local || to_proxy())) {
        packet_.interface = "lo";
        (void)(table(XtTable::kRaw, "PREROUTING") && table(XtTable::kMangle, "PREROUTING") &&
               table(XtTable::kFilter, "INPUT"));
      }
    } else {
      const bool on = table(XtTable::kRaw, "PREROUTING") && table(XtTable::kMangle, "PREROUTING") &&
                      table(XtTable::kNat, "PREROUTING");
      if (on && packet_.local) (void)table(XtTable::kFilter, "INPUT");
    }
    out_.mark = packet_.mark;
    out_.connection_mark = packet_.connection_mark;
    return out_;
  }

 private:
  // By the route of TPROXY: for the mark that its rules set.
  bool to_proxy() const {
    for (const XtTableForm& table : form_.tables)
      if (table.family == packet_.destination.family)
        for (const XtChain& chain : table.chains)
          for (const XtEntry& entry : chain.entries)
            if (entry.target.kind == XtTarget::Kind::kTproxy && entry.target.mark == packet_.mark) return true;
    return false;
  }

  bool table(XtTable wanted, const std::string& from) {
    const bool begins = packet_.state == State::kFirst || packet_.state == State::kMidstream;
    if (wanted == XtTable::kNat && !begins) return true;
    for (const XtTableForm& table : form_.tables) {
      if (table.table != wanted || table.family != packet_.destination.family) continue;
      for (const XtJump& jump : table.jumps)
        if (jump.from == from && !chain(table, jump.to)) return false;
    }
    return true;
  }

  // False: the packet's way ends. A final target ends the table's part of it as well, as RETURN does.
  bool chain(const XtTableForm& table, const std::string& name) {
    const XtChain* at = find(table, name);
    for (std::size_t i = 0, steps = 0; at != nullptr && i < at->entries.size(); ++steps) {
      if (steps > kMaxSteps) return set(Kind::kDropped, 0);  // a circle: no outcome is like it
      const XtEntry& entry = at->entries[i];
      const bool fits = (!entry.translated || out_.kind == Kind::kRedirected) &&
                        matches(entry.match, packet_, at->outgoing) == Answer::kYes;
      if (!fits) {
        ++i;
        continue;
      }
      if (entry.target.kind == XtTarget::Kind::kGoto) {
        at = find(table, entry.target.chain);
        i = 0;
        continue;
      }
      if (!change(entry.target)) return decide(entry.target);
      ++i;
    }
    return true;
  }

  static const XtChain* find(const XtTableForm& table, const std::string& name) {
    const auto found = std::find_if(table.chains.begin(), table.chains.end(),
                                    [&name](const XtChain& chain) { return chain.name == name; });
    return found == table.chains.end() ? nullptr : &*found;
  }

  // Whether it was a target after which the chain goes on.
  bool change(const XtTarget& target) {
    switch (target.kind) {
      case XtTarget::Kind::kMark:
        packet_.mark = target.mark;
        return true;
      case XtTarget::Kind::kSaveMark:
        packet_.connection_mark = packet_.mark;
        return true;
      case XtTarget::Kind::kRestoreMark:
        packet_.mark = packet_.connection_mark;
        return true;
      case XtTarget::Kind::kZone:
        if (out_.zone == 0) out_.zone = target.zone;
        return true;
      default:
        return false;
    }
  }

  bool decide(const XtTarget& target) {
    switch (target.kind) {
      case XtTarget::Kind::kRedirect:
        packet_.destination_port = target.port;
        packet_.local = true;
        if (packet_.outgoing)
          packet_.destination = parse_cidr(packet_.destination.family == Family::kIpv4 ? "127.0.0.1" : "::1").value();
        return !set(Kind::kRedirected, target.port);
      case XtTarget::Kind::kTproxy:
        packet_.mark = target.mark;
        return !set(Kind::kTproxied, target.port);
      case XtTarget::Kind::kReject:
        return set(Kind::kRefused, 0);
      case XtTarget::Kind::kDrop:
        return set(Kind::kDropped, 0);
      default:
        return true;
    }
  }

  bool set(Kind kind, std::uint16_t port) {
    out_.kind = kind;
    out_.port = port;
    return false;
  }

  const XtablesForm& form_;
  Packet packet_;
  Outcome out_;
};

}  // namespace

Outcome walk_xtables(const XtablesForm& form, const Packet& packet) {
  return XtWalk(form, packet).go();
}

}  // namespace hawser::netfilter
