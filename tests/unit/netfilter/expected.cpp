// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// The configuration's meaning, said once more, as conditions on a packet and without rules. It shares nothing with the
// planner but address.h.
#include <algorithm>

#include "laws.h"

namespace hawser::netfilter::laws {
namespace {

using Kind = Outcome::Kind;
constexpr Expected kLeftAlone{};

bool has(const std::vector<PortRange>& ranges, std::uint32_t port) {
  return std::any_of(ranges.begin(), ranges.end(), [port](const auto& r) { return r.first <= port && port <= r.last; });
}

bool has(const std::vector<std::string>& networks, const Cidr& address) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const auto& text) { return parse_cidr(text).value().contains(address); });
}

template <typename T>
bool has(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool has_uid(const std::vector<IdRange>& ranges, std::uint32_t uid) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [uid](const IdRange& range) { return range.first <= uid && uid <= range.last; });
}

bool owns(const Owner& owner, const Packet& p) {
  return has_uid(owner.uids, *p.uid) || has(owner.gids, *p.gid) ||
         std::any_of(owner.cgroups.begin(), owner.cgroups.end(),
                     [&p](const auto& of) { return (*p.cgroup + "/").rfind(of + "/", 0) == 0; }) ||
         std::any_of(owner.marks.begin(), owner.marks.end(),
                     [&p](const Mark& m) { return (p.mark & m.mask) == m.value; });
}

class Meaning {
 public:
  Meaning(const world::Scenario& scenario, const Packet& packet)
      : i_(scenario.intent), guard_(scenario.guard), p_(packet), tcp_(packet.transport == Transport::kTcp) {}

  Expected of() const { return p_.outgoing ? outgoing() : incoming(p_.local); }

 private:
  bool on(Family family) const { return family == Family::kIpv4 ? i_.ipv4 : i_.ipv6; }
  bool on() const { return on(p_.destination.family); }
  bool address_is(const char* ipv4, const char* ipv6) const {
    return p_.destination.text() == (p_.destination.family == Family::kIpv4 ? ipv4 : ipv6);
  }
  bool passed_on() const { return p_.source->text() == "127.0.0.6" || p_.source->text() == "::6"; }
  bool ssh(std::uint32_t port) const { return port == 22 || has(guard_.ssh_ports, static_cast<std::uint16_t>(port)); }
  bool own_port(std::uint32_t port) const {
    return has(std::vector<std::uint32_t>{i_.outbound_port, i_.inbound_port, 15020, 15021, 15090}, port) ||
           (i_.dns.capture != Dns::Capture::kOff && port == i_.dns.port);
  }
  bool metadata() const {
    return has({"169.254.0.0/16", "168.63.129.16", "100.100.100.200", "fe80::/10", "fd00:ec2::254", "fd20:ce::254"},
               p_.destination);
  }
  bool never(bool of_any_port) const {
    return std::any_of(i_.never.begin(), i_.never.end(), [&](const Endpoint& e) {
      return has({e.address}, p_.destination) &&
             (of_any_port || e.port == 0 || (tcp_ && e.port == p_.destination_port));
    });
  }
  bool excluded_interface() const {
    return std::any_of(i_.exclude_interfaces.begin(), i_.exclude_interfaces.end(), [&](const std::string& name) {
      return name.back() == '*' ? p_.interface->rfind(name.substr(0, name.size() - 1), 0) == 0 : name == *p_.interface;
    });
  }
  bool tproxy() const { return i_.capture_inbound && i_.inbound_mode == InboundMode::kTproxy && !i_.refuse; }

  Expected captured(std::uint32_t port) const {
    return i_.refuse ? Expected{Kind::kRefused, 0} : Expected{Kind::kRedirected, static_cast<std::uint16_t>(port)};
  }

  // -- what arrives ------------------------------------------------------------------------------------------

  bool served() const {
    const std::uint32_t port = p_.destination_port;
    if (i_.inbound_ports.empty() && i_.services.empty()) return true;
    return has(i_.inbound_ports, port) ||
           std::any_of(i_.services.begin(), i_.services.end(), [port](const auto& s) { return has(s.ports, port); });
  }
  bool left_by_its_port() const {
    const std::uint32_t port = p_.destination_port;
    return ssh(port) || own_port(port) || has(i_.inbound_exclude, port) ||
           (i_.hbone_port != 0 && i_.hbone_port == port);
  }

  Expected incoming(bool local) const {
    if (!i_.capture_inbound || !tcp_) return kLeftAlone;
    const bool probe = *p_.interface == kProbeInterface && p_.destination_port == kProbePort && on();
    if (probe && !i_.refuse && tproxy()) return {Kind::kTproxied, static_cast<std::uint16_t>(i_.inbound_port)};
    const bool kept = !local || excluded_interface() || left_by_its_port() || *p_.source_port == 22 || metadata();
    const bool ours = !kept && served() && on();
    if (p_.state == State::kInvalid) return ours && i_.drop_invalid ? Expected{Kind::kDropped, 0} : kLeftAlone;
    if (tproxy()) return proxied(ours);
    if (p_.state != State::kFirst) {
      const bool sent_on = probe && !i_.refuse && p_.state == State::kMidstream;
      return sent_on ? captured(i_.inbound_port) : kLeftAlone;
    }
    return ours || (probe && !i_.refuse) ? captured(i_.inbound_port) : kLeftAlone;
  }

  Expected proxied(bool ours) const {
    if (!ours) return kLeftAlone;
    if (p_.state == State::kEstablished) return {Kind::kDiverted, 0};
    if (p_.state == State::kFirst) return {Kind::kTproxied, static_cast<std::uint16_t>(i_.inbound_port)};
    return kLeftAlone;
  }

  // -- what is sent ------------------------------------------------------------------------------------------

  bool own_probe() const {
    return i_.capture_inbound && tcp_ && *p_.uid == i_.probe_uid && !ssh(p_.destination_port) &&
           !own_port(p_.destination_port) && on() &&
           std::any_of(i_.own_probes.begin(), i_.own_probes.end(), [&](const Endpoint& e) {
             return e.address == p_.destination.text() && e.port == p_.destination_port;
           });
  }
  bool calls_itself() const {
    return i_.self_call && i_.capture_inbound && i_.capture_outbound && !i_.refuse && p_.local && tcp_ && on() &&
           owns(i_.proxy, p_) && !address_is("127.0.0.1", "::1") && !left_by_its_port() && served() && !metadata() &&
           !never(true) && !(p_.destination_port == 53 && captures_dns_somewhere());
  }
  Expected outgoing() const {
    if (tproxy() && !(p_.mark == 0x539 && p_.local && tcp_)) {
      const bool passing = i_.capture_outbound && i_.self_call && p_.local && passed_on();
      const bool own = p_.mark == 0x53a || own_probe() || (!passing && calls_itself());
      if (own && p_.local && !passed_on()) return incoming(true);  // by lo, as from elsewhere
    }
    if (!i_.capture_outbound || !(p_.state == State::kFirst || p_.state == State::kMidstream)) return kLeftAlone;
    if (!tproxy() && own_probe()) return captured(i_.inbound_port);
    const bool self_call = i_.self_call && i_.capture_inbound && !i_.refuse && !tproxy();
    if (self_call && p_.local && (passed_on() || (tcp_ && p_.state == State::kMidstream))) return kLeftAlone;
    if (self_call && p_.state == State::kFirst && calls_itself()) return captured(i_.inbound_port);
    return to_others();
  }

  Expected to_others() const {
    if (owns({i_.exempt_uids, i_.exempt_gids, i_.exempt_cgroups, i_.exempt_marks}, p_)) return kLeftAlone;
    const bool probe = tcp_ && on() && p_.destination_port == kProbePort && address_is("127.0.0.6", "::1");
    if (probe && !i_.refuse) return captured(i_.outbound_port);
    if (has(i_.groups_exclude, *p_.gid) || (!i_.groups_include.empty() && !has(i_.groups_include, *p_.gid)))
      return kLeftAlone;
    if (left_for_its_user()) return kLeftAlone;
    if (asks_upstream()) return kLeftAlone;
    if (asks_for_names()) return {Kind::kRedirected, static_cast<std::uint16_t>(i_.dns.port)};
    if (!tcp_ || p_.state != State::kFirst) return kLeftAlone;
    if (p_.destination_port == 22 || ssh(*p_.source_port)) return kLeftAlone;
    if (metadata() || never(false) || excluded_interface() || p_.local) return kLeftAlone;
    if (has(i_.outbound_exclude, p_.destination_port) || has(i_.outbound_exclude_cidrs, p_.destination))
      return kLeftAlone;
    const bool all = i_.outbound_ports.empty() && i_.outbound_cidrs.empty();
    if (!all && !has(i_.outbound_ports, p_.destination_port) && !has(i_.outbound_cidrs, p_.destination))
      return kLeftAlone;
    return on() ? captured(i_.outbound_port) : kLeftAlone;
  }

  bool left_for_its_user() const {
    if (p_.transport == Transport::kOther) return false;
    return std::any_of(i_.user_ports.begin(), i_.user_ports.end(), [&](const UserPorts& u) {
      const bool protocol = u.protocol == Protocol::kAny || (u.protocol == Protocol::kTcp) == tcp_;
      return protocol && has_uid(u.uids, *p_.uid) && (u.ports.empty() || has(u.ports, p_.destination_port));
    });
  }

  // -- DNS ---------------------------------------------------------------------------------------------------

  const std::vector<std::string>& servers() const {
    return i_.dns.resolvers.empty() ? guard_.resolvers : i_.dns.resolvers;
  }
  bool captures_dns(Family family) const {
    if (i_.dns.capture == Dns::Capture::kOff || i_.refuse || !i_.capture_outbound || !on(family)) return false;
    if (!(family == Family::kIpv4 ? i_.dns.ipv4 : i_.dns.ipv6)) return false;
    return i_.dns.capture == Dns::Capture::kAll ||
           std::any_of(servers().begin(), servers().end(),
                       [family](const auto& text) { return parse_cidr(text).value().family == family; });
  }
  bool captures_dns_somewhere() const { return captures_dns(Family::kIpv4) || captures_dns(Family::kIpv6); }
  bool question() const { return p_.transport != Transport::kOther && p_.destination_port == 53; }
  bool asks_upstream() const {
    return question() && captures_dns_somewhere() &&
           (owns(i_.dns.agent, p_) || owns(i_.dns.host_resolver, p_) || owns(guard_.host_resolver, p_));
  }
  bool asks_for_names() const {
    return question() && captures_dns(p_.destination.family) &&
           (i_.dns.capture == Dns::Capture::kAll || has(servers(), p_.destination));
  }

  const Intent& i_;
  const Guard& guard_;
  const Packet& p_;
  bool tcp_;
};

}  // namespace

Expected expected(const world::Scenario& scenario, const Packet& packet) {
  return Meaning(scenario, packet).of();
}

}  // namespace hawser::netfilter::laws
