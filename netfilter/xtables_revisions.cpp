// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/xtables_revisions.h"

// Before the kernel's headers, which then leave out what it defines.
#include <netinet/in.h>

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hawser::netfilter {
namespace {

Error denied() {
  return {Code::kPermissionDenied, "HWS-NF-073", "the kernel refused to tell about xtables",
          "run the broker with CAP_NET_ADMIN and CAP_NET_RAW"};
}

}  // namespace

const char* xtables_module(Family family) {
  return family == Family::kIpv6 ? "ip6_tables" : "ip_tables";
}

int XtRevisions::socket(Family family) {
  UniqueFd& fd = sockets_[family == Family::kIpv6 ? 1 : 0];
  if (!fd) fd.reset(::socket(family == Family::kIpv6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  return fd.get();
}

int XtRevisions::ask(Family family, const Need& need) {
  const auto key = std::make_pair(family, need);
  if (const auto at = known_.find(key); at != known_.end()) return at->second;
  const int fd = socket(family);
  if (fd < 0) return errno;
  xt_get_revision question{};
  std::memcpy(question.name, need.name.data(), std::min(need.name.size(), sizeof question.name - 1));
  question.revision = static_cast<__u8>(need.revision);
  socklen_t size = sizeof question;
  const bool match = need.what == What::kMatch;
  const int rc = family == Family::kIpv6
                     ? ::getsockopt(fd, IPPROTO_IPV6, match ? IP6T_SO_GET_REVISION_MATCH : IP6T_SO_GET_REVISION_TARGET,
                                    &question, &size)
                     : ::getsockopt(fd, IPPROTO_IP, match ? IPT_SO_GET_REVISION_MATCH : IPT_SO_GET_REVISION_TARGET,
                                    &question, &size);
  const int answer = rc == 0 ? 0 : errno;
  // A module may come later; a permission won't be asked twice either way.
  if (answer == 0) known_[key] = answer;
  return answer;
}

bool XtRevisions::has_family(Family family) {
  return socket(family) >= 0 || (errno != EAFNOSUPPORT && errno != EPROTONOSUPPORT);
}

Status XtRevisions::usable(Family family) {
  const int error = ask(family, {What::kTarget, "REDIRECT", 0});
  if (error == 0) return {};
  if (error == EPERM || error == EACCES) return denied();
  return errno_error(error, "HWS-NF-074",
                     std::string("the kernel has no legacy xtables (") + xtables_module(family) + ")",
                     std::string("load the module ") + xtables_module(family) + ", or use a kernel with nf_tables");
}

Revisions XtRevisions::newest(Family family) {
  const auto newest_of = [&](What what, const char* name) {
    for (const int revision : {2, 1})
      if (ask(family, {what, name, revision}) == 0) return revision;
    return 0;
  };
  return {newest_of(What::kMatch, "cgroup"), newest_of(What::kTarget, "CONNMARK"), newest_of(What::kTarget, "CT")};
}

std::set<XtRevisions::Need> XtRevisions::needs(const XtTableForm& form) {
  using Kind = XtTarget::Kind;
  std::set<Need> out;
  const auto match = [&](bool needed, const char* name, int revision) {
    if (needed) out.insert({What::kMatch, name, revision});
  };
  if (!form.jumps.empty()) match(true, "comment", 0);
  for (const XtChain& chain : form.chains)
    for (const XtEntry& entry : chain.entries) {
      const Match& m = entry.match;
      const bool ports = m.source_ports.size() == 1 || m.destination_ports.size() == 1 || m.midstream;
      match(ports, m.protocol == Protocol::kUdp ? "udp" : "tcp", 0);
      match(m.source_ports.size() > 1 || m.destination_ports.size() > 1 || !m.not_destination_ports.empty(),
            "multiport", 1);
      match(m.tracked != Tracked::kAny || entry.translated, "conntrack", 3);
      match(m.local || m.not_local, "addrtype", 1);
      match(!m.uids.empty() || !m.gids.empty() || !m.not_gids.empty(), "owner", 1);
      match(!m.marks.empty() || !m.not_marks.empty(), "mark", 1);
      match(!m.connection_marks.empty(), "connmark", 1);
      match(!m.cgroups.empty(), "cgroup", 1);
      const Kind kind = entry.target.kind;
      if (kind == Kind::kRedirect) out.insert({What::kTarget, "REDIRECT", 0});
      if (kind == Kind::kTproxy) out.insert({What::kTarget, "TPROXY", 1});
      if (kind == Kind::kReject) out.insert({What::kTarget, "REJECT", 0});
      if (kind == Kind::kMark) out.insert({What::kTarget, "MARK", 2});
      if (kind == Kind::kSaveMark || kind == Kind::kRestoreMark) out.insert({What::kTarget, "CONNMARK", 1});
      if (kind == Kind::kZone) out.insert({What::kTarget, "CT", 1});
    }
  return out;
}

Status XtRevisions::check(const XtTableForm& form) {
  std::string missing;
  for (const Need& need : needs(form)) {
    const int error = ask(form.family, need);
    if (error == 0) continue;
    if (error == EPERM || error == EACCES) return denied();
    missing += (missing.empty() ? "" : ", ") + need.name + " revision " + std::to_string(need.revision);
    if (need.name == "cgroup") missing += " (cgroup v2 by path: Linux 4.5)";
    if (need.name == "CT") missing += " (zones for DNS: CONFIG_NF_CONNTRACK_ZONES)";
  }
  if (missing.empty()) return {};
  return Error(Code::kFailedPrecondition, "HWS-NF-074",
               std::string("the kernel's ") + xtables_module(form.family) + " lacks what the plan needs: " + missing,
               "load or build those xt_ modules, leave that part out, or use a kernel with nf_tables");
}

}  // namespace hawser::netfilter
