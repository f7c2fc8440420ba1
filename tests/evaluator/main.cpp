// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// hawser_evaluate: a JSON object on standard input, {"intent": hex of broker.v1.Intent, "ssh_ports": […], "packets":
// […]}; on standard output the digest of the compiled plan and each packet's outcome. tests/lab/evaluator.py asks it.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "broker/intent_proto.h"
#include "hawser/broker.pb.h"
#include "netfilter/explain.h"

namespace {

using namespace hawser;
using namespace hawser::netfilter;
using nlohmann::json;

std::string bytes_of(const std::string& hex) {
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return out;
}

template <typename T>
std::optional<T> maybe(const json& object, const char* key) {
  return object.contains(key) && !object[key].is_null() ? std::optional<T>(object[key].get<T>()) : std::nullopt;
}

Packet packet_of(const json& from) {
  Packet out;
  out.outgoing = from.at("out").get<bool>();
  const auto transport = from.at("transport").get<std::string>();
  out.transport = transport == "tcp" ? Transport::kTcp : transport == "udp" ? Transport::kUdp : Transport::kOther;
  if (auto source = maybe<std::string>(from, "src")) out.source = parse_cidr(*source).value();
  out.source_port = maybe<std::uint16_t>(from, "sport");
  out.destination = parse_cidr(from.at("dst").get<std::string>()).value();
  out.destination_port = from.at("dport").get<std::uint16_t>();
  out.local = from.at("local").get<bool>();
  out.interface = maybe<std::string>(from, "interface");
  out.uid = maybe<std::uint32_t>(from, "uid");
  out.gid = maybe<std::uint32_t>(from, "gid");
  out.cgroup = maybe<std::string>(from, "cgroup");
  out.mark = from.value("mark", 0U);
  return out;
}

json outcome_of(const Plan& plan, const Packet& packet) {
  const Outcome outcome = evaluate(plan, packet);
  json out = {{"kind", to_string(outcome.kind)}, {"port", outcome.port}, {"text", to_text(explain(plan, packet))}};
  out["purpose"] = outcome.rule ? to_string(plan.rules[*outcome.rule].purpose) : "";
  return out;
}

int run(const json& input) {
  broker::v1::Intent intent;
  if (!intent.ParseFromString(bytes_of(input.at("intent").get<std::string>()))) return 1;
  Guard guard;
  guard.ssh_ports = input.at("ssh_ports").get<std::vector<std::uint16_t>>();
  const auto plan = compile(broker::to_intent(intent), guard);
  if (!plan) {
    std::fprintf(stderr, "%s\n", plan.error().to_string().c_str());
    return 1;
  }
  json out = {{"digest", plan->digest}, {"outcomes", json::array()}};
  for (const auto& packet : input.at("packets")) out["outcomes"].push_back(outcome_of(*plan, packet_of(packet)));
  std::printf("%s\n", out.dump().c_str());
  return 0;
}

}  // namespace

int main() {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  try {
    return run(json::parse(text));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
