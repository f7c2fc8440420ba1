// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "config/schema_parts.h"
#include "config/schema_value.h"

namespace hawser::config {
namespace {

using Kind = HealthProbe::Kind;

constexpr std::size_t kMaxServices = 64;
constexpr Millis kMinTime{10};

Status read_jitter(double& out, const std::string& text) {
  std::size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || !(value >= 0 && value <= 0.5))
    return bad("'" + text + "' is not a share from 0 to 0.5");
  out = value;
  return {};
}

void read_port(MapReader& map, HealthProbe& probe) {
  map.scalar("port", set<std::uint16_t>(probe.port, parse_port));
  // a service's port may be that of workload.ports with its name
  if (probe.port == 0 && probe.service.empty())
    map.fail("port", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
}

void read_http(MapReader& http, HealthProbe& probe) {
  probe.kind = Kind::kHttp;
  http.text("path", probe.http_path);
  http.text("host", probe.host);
  http.scalar("scheme", choice({"http", "https"}, [&probe](std::size_t i) { probe.tls = i == 1; }));
  http.text("server_name", probe.server_name);
  http.text("ca", probe.ca_pem);
  if (!probe.ca_pem.empty() && probe.ca_pem.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    http.fail("ca", bad("holds no PEM certificate", "paste it as a block: ca: |"));
  if (!probe.tls && !probe.ca_pem.empty()) http.fail("ca", bad("needs scheme: https"));
  http.string_map("headers", probe.http_headers);
  read_port(http, probe);
}

void read_grpc(MapReader& grpc, HealthProbe& probe) {
  probe.kind = Kind::kGrpc;
  grpc.text("host", probe.host);
  grpc.text("service", probe.grpc_service);
  read_port(grpc, probe);
}

void read_exec(MapReader& exec, HealthProbe& probe) {
  probe.kind = Kind::kExec;
  if (exec.has("command")) probe.command.clear();
  exec.list("command", [&probe](const std::string& text) -> Status {
    probe.command.push_back(text);
    return {};
  });
  if (probe.command.empty()) exec.fail("command", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
}

void read_times(MapReader& map, HealthProbe& probe) {
  map.scalar("period", millis(probe.period));
  map.scalar("timeout", millis(probe.timeout));
  map.scalar("initial_delay", millis(probe.initial_delay));
  map.scalar("jitter", [&probe](const std::string& text) { return read_jitter(probe.jitter, text); });
  map.scalar("success_threshold", number(probe.success_threshold, 1, 100));
  map.scalar("failure_threshold", number(probe.failure_threshold, 1, 100));
  if (probe.period < kMinTime) map.fail("period", bad("is under 10ms"));
  if (probe.timeout < kMinTime) map.fail("timeout", bad("is under 10ms"));
}

void read_kind(MapReader& map, HealthProbe& probe) {
  int kinds = 0;
  for (const char* key : {"http", "tcp", "grpc", "exec"})
    if (map.has(key) && ++kinds == 2) map.fail(key, bad("a probe is one of http, tcp, grpc and exec"));
  map.map("http", [&probe](MapReader& http) { read_http(http, probe); });
  map.map("tcp", [&probe](MapReader& tcp) {
    probe.kind = Kind::kTcp;
    tcp.text("host", probe.host);
    read_port(tcp, probe);
  });
  map.map("grpc", [&probe](MapReader& grpc) { read_grpc(grpc, probe); });
  map.map("exec", [&probe](MapReader& exec) { read_exec(exec, probe); });
  map.scalar("through_proxy", boolean(probe.through_proxy));
  if (!probe.through_proxy) return;
  if (probe.kind == Kind::kExec)
    map.fail("through_proxy", bad("isn't for exec", "leave it out: a command asks nobody"));
  if (!probe.host.empty()) map.fail("through_proxy", bad("goes to the host's own address", "leave host out"));
}

void read_service(MapReader& map, const HealthProbe& defaults, std::vector<HealthProbe>& out) {
  HealthProbe probe;
  probe.period = defaults.period;
  probe.jitter = defaults.jitter;
  probe.timeout = defaults.timeout;
  probe.initial_delay = defaults.initial_delay;
  probe.success_threshold = defaults.success_threshold;
  probe.failure_threshold = defaults.failure_threshold;
  map.text("name", probe.service);
  if (probe.service.empty()) map.fail("name", Error(Code::kInvalidArgument, "HWS-CF-005", "is missing"));
  const auto same = [&probe](const HealthProbe& other) { return other.service == probe.service; };
  if (std::any_of(out.begin(), out.end(), same)) map.fail("name", bad("'" + probe.service + "' is there already"));
  if (out.size() >= kMaxServices) map.fail("name", bad("is one of more than 64 services"));
  read_kind(map, probe);
  if (probe.kind == Kind::kNone) map.fail("name", bad("has no probe", "add http, tcp, grpc or exec"));
  read_times(map, probe);
  out.push_back(std::move(probe));
}

bool is_captured(const Interception& interception, std::uint16_t port) {
  const auto has = [port](const PortRange& range) { return range.first <= port && port <= range.last; };
  const auto& only = interception.inbound_ports;
  const auto& but = interception.inbound_exclude;
  return interception.inbound && interception.outbound &&
         (only.empty() || std::any_of(only.begin(), only.end(), has)) && std::none_of(but.begin(), but.end(), has);
}

}  // namespace

void read_health(MapReader& map, Health& health) {
  read_kind(map, health.program);
  read_times(map, health.program);
  if (map.has("services")) health.services.clear();
  map.each_map("services", [&health](MapReader& service) { read_service(service, health.program, health.services); });
  map.scalar("policy", choice({"all", "any"}, [&health](std::size_t i) { health.any = i == 1; }));
  map.scalar("report_interval", seconds(health.report_interval));
  if (health.report_interval < std::chrono::seconds(1)) map.fail("report_interval", bad("is under 1s"));
}

std::vector<HealthProbe> Config::health_probes() const {
  std::vector<HealthProbe> out;
  if (health.program.kind != Kind::kNone) out.push_back(health.program);
  for (HealthProbe probe : health.services) {
    for (const auto& port : workload.ports)
      if (probe.port == 0 && port.name == probe.service) probe.port = port.port;
    out.push_back(std::move(probe));
  }
  return out;
}

void check_registration(const Config& config, std::vector<Error>& errors) {
  if (!config.workload.addresses.empty() && config.workload.address_rule.given)
    errors.push_back(bad("workload.address and workload.address_rule are both there",
                         "keep one: an address that is given needs no rule"));
  for (const auto& probe : config.health_probes()) {
    const std::string name = probe.service.empty() ? "health" : "health.services: '" + probe.service + "'";
    if (probe.port == 0 && probe.kind != Kind::kExec)
      errors.emplace_back(Code::kInvalidArgument, "HWS-CF-005",
                          name + " has no port, and workload.ports has none of its name", "add port:");
    if (probe.through_proxy && !is_captured(config.interception, probe.port))
      errors.push_back(bad(name + " asks through the proxy, but port " + std::to_string(probe.port) +
                               " isn't captured, or a direction isn't",
                           "leave through_proxy out, or see interception"));
  }
}

}  // namespace hawser::config
