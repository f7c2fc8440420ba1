// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/probe.h"

#include <cerrno>
#include <cstring>

#include "netfilter/dns_probe.h"
#include "netfilter/inbound_probe.h"
#include "netfilter/probe_socket.h"

namespace hawser::netfilter {
namespace {

// A look shows all counters, so a probe's "after" is the next one's "before".
class Counted {
 public:
  explicit Counted(Backend& backend) : backend_(backend) { look(); }
  void look() {
    auto now = backend_.counters();
    seen_ = now ? std::move(*now) : Counters();
  }
  // Since the last look.
  bool more(const std::string& counter) {
    const std::uint64_t before = packets(counter);
    look();
    return packets(counter) > before;
  }

 private:
  std::uint64_t packets(const std::string& counter) const {
    const auto at = seen_.find(counter);
    return at == seen_.end() ? 0 : at->second.packets;
  }

  Backend& backend_;
  Counters seen_;
};

bool no_route(int error) {
  return error == ENETUNREACH || error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

ProbeResult judge(std::string name, int error, bool counted, std::uint16_t port) {
  const std::string listener = "the listener on port " + std::to_string(port);
  ProbeResult out{std::move(name), false, {}};
  if (error == 0 && counted) {
    out.passed = true;
    out.detail = "reached " + listener;
  } else if (error == 0) {
    out.detail =
        "connected, but not by our rule: something else listens on or redirects port " + std::to_string(kProbePort);
  } else if (counted) {
    out.detail = "redirected, but " + listener + " didn't answer: " + std::strerror(error);
  } else {
    out.detail = std::string("not redirected: ") + std::strerror(error);
  }
  return out;
}

ProbeResult probe_out(Counted& counters, const Plan& plan, Family family) {
  const bool v6 = family == Family::kIpv6;
  const int error = connect_as(plan.prober, socket_address(v6 ? kProbeAddress6 : kProbeAddress4, kProbePort));
  if (v6 && no_route(error)) return {"out6", true, "read back only: IPv6 is off on lo"};
  return judge(v6 ? "out6" : "out4", error, counters.more("out_probe"), plan.outbound_port);
}

ProbeResult judge_in(Counted& counters, const Plan& plan, const InboundProbe& probe, Family family) {
  std::string name = family == Family::kIpv6 ? "in6" : "in4";
  auto answer = probe.ask(family);
  if (!answer) return {std::move(name), true, "read back only: " + answer.error().message()};
  const bool counted = counters.more("in_probe");
  if (*answer == InboundAnswer::kNothing && counted)
    return {std::move(name), true, "redirected, but the answer was lost: another firewall may filter it"};
  if (*answer == InboundAnswer::kNothing)
    return {std::move(name), true, "read back only: the SYN was filtered in front of our rules"};
  return judge(std::move(name), *answer == InboundAnswer::kAccepted ? 0 : ECONNREFUSED, counted, plan.inbound_port);
}

void probe_in(Counted& counters, const Plan& plan, std::vector<ProbeResult>& out) {
  const auto probe = InboundProbe::make();
  for (const Family family : kFamilies) {
    if (!(family == Family::kIpv4 ? plan.ipv4 : plan.ipv6)) continue;
    if (probe)
      out.push_back(judge_in(counters, plan, *probe, family));
    else
      out.push_back({family == Family::kIpv6 ? "in6" : "in4", true, "read back only: " + probe.error().message()});
  }
}

// Names must be answered as before, or the host is worse off with us than without. What we don't redirect isn't ours to
// judge: a server may be away.
ProbeResult probe_dns(Counted& counters, const Plan& plan, const Cidr& server) {
  counters.look();  // others ask for names, too
  const DnsAnswer answer = ask_as(plan.prober, server);
  const bool counted = counters.more("out_dns");
  ProbeResult out{server.family == Family::kIpv6 ? "dns6" : "dns4", answer.error == 0 || !counted, {}};
  const std::string listener = "port " + std::to_string(plan.dns_port);
  const std::string failure = answer.error != 0 ? std::strerror(answer.error) : "";
  if (!counted)
    out.detail = "read back only: no question was captured; " + (failure.empty() ? "it was answered" : failure);
  else if (failure.empty())
    out.detail = "answered by " + listener;
  else
    out.detail = "redirected, but " + listener + " didn't answer: " + failure;
  out.detail = "asking " + server.text() + ": " + out.detail;
  return out;
}

}  // namespace

std::vector<ProbeResult> probe(Backend& backend, const Plan& plan) {
  std::vector<ProbeResult> out;
  Counted counters(backend);
  if (plan.outbound && plan.ipv4) out.push_back(probe_out(counters, plan, Family::kIpv4));
  if (plan.outbound && plan.ipv6) out.push_back(probe_out(counters, plan, Family::kIpv6));
  if (plan.inbound) probe_in(counters, plan, out);
  for (const Cidr& server : plan.dns_probes) out.push_back(probe_dns(counters, plan, server));
  return out;
}

}  // namespace hawser::netfilter
