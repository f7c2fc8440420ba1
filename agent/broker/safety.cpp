// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/safety.h"

#include "netfilter/evaluate.h"

namespace hawser::broker {
namespace {

using netfilter::Packet;

std::string with_port(const std::string& address, std::uint32_t port) {
  return (address.find(':') == std::string::npos ? address : "[" + address + "]") + ":" + std::to_string(port);
}

// Link-local addresses come with an interface: fe80::1%eth0.
Result<netfilter::Cidr> parse_address(const std::string& text) {
  return netfilter::parse_cidr(text.substr(0, text.find('%')));
}

}  // namespace

// The session itself goes on: only first packets are ever captured. Whoever lost it wouldn't get in again, though.
Status check_sessions(const netfilter::Plan& plan, const std::vector<Session>& sessions) {
  for (const Session& session : sessions) {
    const auto peer = parse_address(session.peer);
    const auto local = parse_address(session.local);
    if (!peer || !local || session.local_port == 0 || session.local_port > 65535) continue;  // of no use to anybody
    Packet packet;
    packet.outgoing = false;
    packet.source = *peer;
    packet.source_port = static_cast<std::uint16_t>(session.peer_port);
    packet.destination = *local;
    packet.destination_port = static_cast<std::uint16_t>(session.local_port);
    packet.local = true;
    if (netfilter::evaluate(plan, packet).captured())
      return Error(Code::kFailedPrecondition, "HWS-BR-035",
                   "your own session from " + with_port(session.peer, session.peer_port) + " to " +
                       with_port(session.local, session.local_port) + " would be captured when you come again",
                   "interception.inbound.exclude: [" + std::to_string(session.local_port) + "]");
  }
  return {};
}

Status check_never(const netfilter::Plan& plan, const std::vector<netfilter::Endpoint>& never) {
  for (const auto& endpoint : never) {
    const auto address = parse_address(endpoint.address);
    if (!address || endpoint.port == 0 || endpoint.port > 65535) continue;
    Packet packet;
    packet.destination = *address;
    packet.destination_port = static_cast<std::uint16_t>(endpoint.port);
    if (netfilter::evaluate(plan, packet).captured())
      return Error(Code::kFailedPrecondition, "HWS-BR-036",
                   "the control plane at " + with_port(endpoint.address, endpoint.port) + " would be captured",
                   "report this, with `hawser intercept plan`");
  }
  return {};
}

Status check_dns(const netfilter::Plan& plan, const Bound& udp, const Bound& tcp) {
  if (plan.dns_port == 0) return {};
  const auto check = [&plan](const Bound& bound, const std::string& protocol) -> Status {
    if (!bound) return {};
    const auto found = bound(plan.dns_port);
    if (!found || *found) return {};  // who can't look must not stand in the way
    return Error(Code::kFailedPrecondition, "HWS-BR-037",
                 "DNS would go to " + protocol + " port " + std::to_string(plan.dns_port) + ", where nobody listens",
                 "is hawserd's DNS server running? else leave DNS alone");
  };
  if (auto fine = check(udp, "UDP"); !fine) return fine;
  return check(tcp, "TCP");
}

}  // namespace hawser::broker
