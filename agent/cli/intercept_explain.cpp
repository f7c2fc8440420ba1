// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "cli/intercept.h"
#include "cli/intercept_intent.h"
#include "config/load.h"
#include "config/value.h"
#include "netfilter/explain.h"

namespace hawser::cli {
namespace {

using netfilter::Cidr;
using netfilter::Explanation;
using netfilter::Family;
using netfilter::Packet;
using nlohmann::json;

struct ExplainArguments {
  bool out = false;
  bool in = false;
  bool forwarded = false;
  bool as_json = false;
  std::string protocol = "tcp";
  std::string state = "first";
  std::string source;
  std::string destination;
  std::string uid;
  std::string gid;
  std::string interface;
  std::string cgroup;
  std::string mark;
  std::string families = "both";
};

struct End {
  Cidr address;
  std::optional<std::uint16_t> port;
};

Error bad_end(const std::string& flag, const std::string& text) {
  return {Code::kInvalidArgument, "HWS-NF-090", flag + ": '" + text + "' is no address, with or without a port",
          "write it like 10.0.0.1, 10.0.0.1:80, fd00::1 or [fd00::1]:80"};
}

// 10.0.0.1, 10.0.0.1:80, fd00::1, [fd00::1], [fd00::1]:80
Result<End> parse_end(const std::string& flag, const std::string& text) {
  const bool bracketed = text.size() > 2 && text.front() == '[' && text.back() == ']';
  const std::string bare = bracketed ? text.substr(1, text.size() - 2) : text;
  std::optional<std::uint16_t> port;
  auto address = netfilter::parse_cidr(bare);
  if (!address) {
    const auto both = config::parse_host_port(text);
    if (!both) return bad_end(flag, text);
    address = netfilter::parse_cidr(both->host);
    port = both->port;
  }
  const bool single = address && address->prefix == (address->family == Family::kIpv4 ? 32U : 128U);
  if (!single || (bracketed && address->family == Family::kIpv4)) return bad_end(flag, text);
  return End{*address, port};
}

bool own_address(const Cidr& address) {
  if (netfilter::parse_cidr("127.0.0.0/8").value().contains(address) ||
      netfilter::parse_cidr("::1").value().contains(address))
    return true;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return false;
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> guard(all, ::freeifaddrs);
  const int family = address.family == Family::kIpv4 ? AF_INET : AF_INET6;
  for (const ifaddrs* item = all; item != nullptr; item = item->ifa_next) {
    if (item->ifa_addr == nullptr || item->ifa_addr->sa_family != family) continue;
    const void* bytes = family == AF_INET
                            ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(item->ifa_addr)->sin_addr)
                            : &reinterpret_cast<const sockaddr_in6*>(item->ifa_addr)->sin6_addr;
    if (std::memcmp(bytes, address.bytes.data(), address.prefix / 8) == 0) return true;
  }
  return false;
}

Status add_ends(const ExplainArguments& arguments, Packet& out) {
  auto destination = parse_end("--dst", arguments.destination);
  if (!destination) return destination.error();
  if (out.transport != netfilter::Transport::kOther && !destination->port)
    return Error(Code::kInvalidArgument, "HWS-NF-090", "--dst: " + arguments.protocol + " needs a port",
                 "write it like 10.0.0.1:80 or [fd00::1]:80");
  out.destination = destination->address;
  out.destination_port = destination->port.value_or(0);
  out.local = out.outgoing ? own_address(out.destination) : !arguments.forwarded;
  if (arguments.source.empty()) return {};
  auto source = parse_end("--src", arguments.source);
  if (!source) return source.error();
  if (source->address.family != out.destination.family)
    return Error(Code::kInvalidArgument, "HWS-NF-091", "--src and --dst are of different families",
                 "give two IPv4 or two IPv6 addresses");
  out.source = source->address;
  out.source_port = source->port;
  return {};
}

// A name may be that of a stand-in.
Result<std::uint32_t> id_of(const std::string& name, Result<unsigned> (*resolve)(const std::string&),
                            const Interception& wanted) {
  for (const StandIn& one : wanted.stand_ins)
    if (one.name == name) return one.id;
  const auto id = resolve(name);
  if (id) return *id;
  return Error(id.error().code(), id.error().id(), id.error().message(), "write a name or a number that this host has");
}

Status add_owner(const ExplainArguments& arguments, const Interception& wanted, Packet& out) {
  if (!arguments.uid.empty()) {
    const auto uid = id_of(arguments.uid, config::resolve_user, wanted);
    if (!uid) return uid.error();
    out.uid = *uid;
  }
  if (!arguments.gid.empty()) {
    const auto gid = id_of(arguments.gid, config::resolve_group, wanted);
    if (!gid) return gid.error();
    out.gid = *gid;
  }
  if (!arguments.mark.empty()) {
    const auto mark = config::parse_mark(arguments.mark);
    if (!mark || mark->mask != netfilter::Mark().mask)  // a packet has all of its bits
      return Error(Code::kInvalidArgument, "HWS-NF-090", "--mark: '" + arguments.mark + "' is no number of 32 bits",
                   "write it like 1337 or 0x539");
    out.mark = mark->value;
  }
  if (!arguments.interface.empty()) out.interface = arguments.interface;
  if (!arguments.cgroup.empty()) out.cgroup = arguments.cgroup.substr(arguments.cgroup.front() == '/' ? 1 : 0);
  return {};
}

Result<Packet> packet_of(const ExplainArguments& arguments, const Interception& wanted) {
  Packet out;
  out.outgoing = arguments.out;
  out.transport = arguments.protocol == "tcp"   ? netfilter::Transport::kTcp
                  : arguments.protocol == "udp" ? netfilter::Transport::kUdp
                                                : netfilter::Transport::kOther;
  out.state = arguments.state == "first"         ? netfilter::State::kFirst
              : arguments.state == "midstream"   ? netfilter::State::kMidstream
              : arguments.state == "established" ? netfilter::State::kEstablished
                                                 : netfilter::State::kInvalid;
  if (auto ends = add_ends(arguments, out); !ends) return ends.error();
  if (auto owner = add_owner(arguments, wanted, out); !owner) return owner.error();
  return out;
}

json by_json(const Explanation::By& by) {
  if (by.number == 0) return nullptr;
  return {{"number", by.number}, {"purpose", by.purpose}, {"rule", by.rule}, {"why", by.why}};
}

json to_json(const Explanation& explanation) {
  const auto& result = explanation.result;
  json out = {{"packet", explanation.packet},
              {"outcome", to_string(result.kind)},
              {"port", result.port},
              {"mark", result.mark},
              {"zone", result.zone},
              {"decided_before", result.decided_before},
              {"text", explanation.outcome},
              {"rule", explanation.by ? by_json(*explanation.by) : json()},
              {"on_its_way", explanation.on_its_way},
              {"otherwise", json::array()}};
  for (const auto& other : explanation.otherwise)
    out["otherwise"].push_back({{"if", other.condition}, {"text", other.outcome}, {"rule", by_json(other.by)}});
  return out;
}

void run(Context& context, const ExplainArguments& arguments) {
  const auto wanted = configured_interception(context, arguments.families, UnknownUsers::kStandIns);
  if (!wanted) return fail(context, wanted.error());
  const auto packet = packet_of(arguments, *wanted);
  if (!packet) return fail(context, packet.error());
  say_warnings(*wanted);
  const Explanation explanation = netfilter::explain(wanted->plan, *packet);
  const std::string text = arguments.as_json ? to_json(explanation).dump(2) + "\n" : to_text(explanation);
  std::printf("%s", with_names(text, *wanted).c_str());
}

void add_owner_options(CLI::App& command, ExplainArguments& arguments) {
  command.add_option("--uid", arguments.uid, "The socket's owner, a user's name or number");
  command.add_option("--gid", arguments.gid, "and group");
  command.add_option("--cgroup", arguments.cgroup, "and cgroup, like system.slice/app.service");
  command.add_option("--mark", arguments.mark, "The packet's mark");
}

}  // namespace

void add_intercept_explain(CLI::App& intercept, Context& context) {
  auto arguments = std::make_shared<ExplainArguments>();
  auto* command = intercept.add_subcommand(
      "explain", "What the configured rules do to a packet, by which rule and why; needs neither root nor a daemon");
  command->fallthrough();
  auto* direction = command->add_option_group("direction")->require_option(1);
  direction->add_flag("--out", arguments->out, "This host sends it");
  direction->add_flag("--in", arguments->in, "It arrives from another host");
  command->add_option("--proto", arguments->protocol, "Its protocol")
      ->check(CLI::IsMember({"tcp", "udp", "other"}))
      ->capture_default_str();
  command->add_option("--src", arguments->source, "Where it comes from: ADDRESS or ADDRESS:PORT");
  command->add_option("--dst", arguments->destination, "Where it goes: ADDRESS:PORT")->required();
  command->add_option("--iface", arguments->interface, "The interface that it leaves or enters by");
  add_owner_options(*command, *arguments);
  command->add_option("--state", arguments->state, "Where in its connection it stands")
      ->check(CLI::IsMember({"first", "midstream", "established", "invalid"}))
      ->capture_default_str();
  command->add_flag("--forwarded", arguments->forwarded, "With --in: this host only routes it");
  command->add_option("--family", arguments->families, "Where the proxy listens")
      ->check(CLI::IsMember({"both", "ipv4", "ipv6"}))
      ->capture_default_str();
  command->add_flag("--json", arguments->as_json, "Print as JSON");
  command->callback([&context, arguments] { run(context, *arguments); });
}

}  // namespace hawser::cli
