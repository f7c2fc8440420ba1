// SPDX-License-Identifier: Apache-2.0
#include "proxy/admin_answers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>

#include "bootstrap/own_listeners.h"

namespace hawser::proxy {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxNames = 16;
// Where callers come in: mTLS, and HBONE.
constexpr std::array<std::uint16_t, 2> kInboundPorts{15006, 15008};

Error unexpected(const std::string& what) {
  return {Code::kInternal, "HWS-PX-002", "the proxy's admin interface answered " + what,
          "is the installed proxy an Envoy of 1.36 or later?"};
}

json parse_json(std::string_view body) {
  return json::parse(body, nullptr, false);
}

// A member of an object, or null.
const json& member(const json& object, const char* key) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

std::optional<std::string> text_of(const json& value) {
  if (!value.is_string()) return std::nullopt;
  return value.get<std::string>();
}

std::optional<ProxyState> state_of(const std::string& name) {
  for (const auto state :
       {ProxyState::kPreInitializing, ProxyState::kInitializing, ProxyState::kLive, ProxyState::kDraining})
    if (name == proxy_state_name(state)) return state;
  return std::nullopt;
}

template <typename T>
std::optional<T> number_of(std::string_view text) {
  T out{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

// protobuf's JSON form of a duration: "12s", "0.5s".
std::chrono::seconds seconds_of(const json& value) {
  const auto text = text_of(value).value_or("");
  return std::chrono::seconds(
      number_of<std::int64_t>(std::string_view(text).substr(0, text.find_first_of(".s"))).value_or(0));
}

// "<commit>/1.40.0/Clean/RELEASE/BoringSSL" → "1.40.0"
std::string short_version(const std::string& text) {
  const auto first = text.find('/');
  if (first == std::string::npos) return text;
  return text.substr(first + 1, text.find('/', first + 1) - first - 1);
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// False if it is no address that we know of.
bool add_address(const std::string& name, const json& address, std::vector<Listener>& out) {
  const json& socket = member(address, "socket_address");
  if (socket.is_null())
    return member(address, "pipe").is_object() || member(address, "envoy_internal_address").is_object();
  const auto ip = text_of(member(socket, "address"));
  const json& port = member(socket, "port_value");
  if (!ip || !port.is_number_unsigned() || port.get<std::uint64_t>() > 65535) return false;
  out.push_back({name, *ip, port.get<std::uint16_t>()});
  return true;
}

// Envoy names a listener's statistics by its address, with dots kept and colons as underscores, or by its stat_prefix.
bool is_on_port(std::string_view listener, std::uint16_t port) {
  return ends_with(listener, "_" + std::to_string(port));
}

}  // namespace

std::string_view proxy_state_name(ProxyState state) {
  switch (state) {
    case ProxyState::kPreInitializing:
      return "PRE_INITIALIZING";
    case ProxyState::kInitializing:
      return "INITIALIZING";
    case ProxyState::kLive:
      return "LIVE";
    case ProxyState::kDraining:
      return "DRAINING";
  }
  return "UNKNOWN";
}

Result<ProbeResult> parse_server_info(std::string_view body) {
  const json document = parse_json(body);
  const auto version = text_of(member(document, "version"));
  const auto state = text_of(member(document, "state"));
  const json& concurrency = member(member(document, "command_line_options"), "concurrency");
  if (!version || !state || !concurrency.is_number_unsigned())
    return unexpected("/server_info with other fields than expected");
  const auto known = state_of(*state);
  if (!known) return unexpected("/server_info with the unknown state '" + state->substr(0, 40) + "'");
  ProbeResult out;
  out.state = *known;
  out.version = short_version(*version);
  out.concurrency = concurrency.get<unsigned>();
  out.uptime = seconds_of(member(document, "uptime_current_epoch"));
  // protobuf's JSON may leave out what is zero.
  const json& epoch = member(member(document, "command_line_options"), "restart_epoch");
  if (epoch.is_number_unsigned()) out.epoch = epoch.get<unsigned>();
  const json& initializing = member(document, "hot_restart_initializing");
  out.initializing = initializing.is_boolean() && initializing.get<bool>();
  return out;
}

Result<std::vector<Listener>> parse_listeners(std::string_view body) {
  const json document = parse_json(body);
  // protobuf's JSON leaves an empty list out.
  if (!document.is_object()) return unexpected("/listeners without an object");
  std::vector<Listener> out;
  for (const json& item : member(document, "listener_statuses")) {
    const auto name = text_of(member(item, "name"));
    if (!name || !add_address(*name, member(item, "local_address"), out))
      return unexpected("/listeners with an unknown entry");
    for (const json& more : member(item, "additional_local_addresses"))
      if (!add_address(*name, more, out)) return unexpected("/listeners with an unknown further address");
  }
  return out;
}

std::map<std::string, std::uint64_t> parse_stats(std::string_view body) {
  std::map<std::string, std::uint64_t> out;
  while (!body.empty()) {
    const auto end = body.find('\n');
    const auto line = body.substr(0, end);
    body.remove_prefix(end == std::string_view::npos ? body.size() : end + 1);
    const auto colon = line.rfind(": ");
    if (colon == std::string_view::npos) continue;
    if (const auto value = number_of<std::uint64_t>(line.substr(colon + 2)))
      out[std::string(line.substr(0, colon))] = *value;
  }
  return out;
}

std::vector<ListenerConnections> connections_by_listener(const std::map<std::string, std::uint64_t>& stats,
                                                         const std::vector<std::uint16_t>& uncounted) {
  constexpr std::string_view kPrefix = "listener.";
  constexpr std::string_view kSuffix = ".downstream_cx_active";
  std::vector<ListenerConnections> out;
  for (const auto& [name, value] : stats) {
    std::string_view listener = name;
    if (listener.substr(0, kPrefix.size()) != kPrefix || !ends_with(listener, kSuffix)) continue;
    listener = listener.substr(kPrefix.size(), listener.size() - kPrefix.size() - kSuffix.size());
    if (listener == "admin" || listener == "admin.main_thread" || listener == bootstrap::kWorkerListener) continue;
    if (listener.find(".worker_") != std::string_view::npos || listener.substr(0, 15) == "envoy_internal_") continue;
    const auto on_port = [listener](std::uint16_t port) { return is_on_port(listener, port); };
    if (std::any_of(uncounted.begin(), uncounted.end(), on_port)) continue;
    const bool inbound = std::any_of(kInboundPorts.begin(), kInboundPorts.end(), on_port);
    out.push_back({std::string(listener), value, inbound});
  }
  return out;
}

std::uint64_t sum_connections(const std::vector<ListenerConnections>& listeners) {
  std::uint64_t sum = 0;
  for (const auto& item : listeners) sum += item.connections;
  return sum;
}

std::vector<std::string> parse_init_dump(std::string_view body) {
  std::vector<std::string> out;
  const json document = parse_json(body);
  for (const json& manager : member(document, "unready_targets_dumps"))
    for (const json& target : member(manager, "target_names"))
      if (const auto name = text_of(target); name && out.size() < kMaxNames) out.push_back(*name);
  return out;
}

std::map<std::string, std::string> parse_listener_errors(std::string_view body) {
  std::map<std::string, std::string> out;
  const json document = parse_json(body);
  for (const json& listener : member(document, "configs")) {
    const auto details = text_of(member(member(listener, "error_state"), "details"));
    if (details && !details->empty() && out.size() < kMaxNames)
      out[text_of(member(listener, "name")).value_or("?")] = *details;
  }
  return out;
}

Result<std::vector<CertificateInUse>> parse_certs(std::string_view body) {
  const json document = parse_json(body);
  if (!document.is_object()) return unexpected("/certs without an object");
  std::vector<CertificateInUse> out;
  for (const json& entry : member(document, "certificates")) {
    const json& chain = member(entry, "cert_chain");
    if (!chain.is_array() || chain.empty()) continue;
    auto serial = text_of(member(chain.front(), "serial_number"));
    if (!serial) return unexpected("/certs with a chain without a serial number");
    std::transform(serial->begin(), serial->end(), serial->begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    CertificateInUse found;
    found.serial = std::move(*serial);
    for (const json& name : member(chain.front(), "subject_alt_names"))
      if (const auto uri = text_of(member(name, "uri")); uri && found.uri.empty()) found.uri = *uri;
    found.expires = text_of(member(chain.front(), "expiration_time")).value_or("");
    out.push_back(std::move(found));
  }
  return out;
}

std::string expired_among(const std::vector<CertificateInUse>& certificates, Loop::Wall now) {
  const std::time_t seconds =
      std::chrono::system_clock::to_time_t(std::chrono::time_point_cast<std::chrono::system_clock::duration>(now));
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  // Envoy writes UTC in the same form, so that the texts are in the order of the times.
  for (const auto& certificate : certificates)
    if (!certificate.expires.empty() && certificate.expires < text) return certificate.serial;
  return {};
}

namespace {

// Empty: its socket can be shared, or it has none.
std::string unshared_listener(const json& listener) {
  const json& bind = member(listener, "bind_to_port");
  if ((bind.is_boolean() && !bind.get<bool>()) || member(listener, "internal_listener").is_object()) return {};
  const std::string name = text_of(member(listener, "name")).value_or("?");
  if (name == bootstrap::kWorkerListener) return {};  // each has its own
  const json& address = member(listener, "address");
  if (member(address, "pipe").is_object()) return name + " listens on a path";
  if (member(listener, "udp_listener_config").is_object() ||
      text_of(member(member(address, "socket_address"), "protocol")).value_or("TCP") != "TCP")
    return name + " is for UDP, whose flows would be torn apart";
  const json& reuse = member(listener, "enable_reuse_port");
  if (reuse.is_boolean() && !reuse.get<bool>()) return name + " has enable_reuse_port: false";
  return {};
}

}  // namespace

Result<std::string> parse_unshared(std::string_view body) {
  const json document = parse_json(body);
  if (!document.is_object()) return unexpected("/config_dump without an object");
  for (const json& item : member(document, "configs")) {
    const json& fixed = member(item, "listener");
    const json& listener = fixed.is_object() ? fixed : member(member(item, "active_state"), "listener");
    if (auto found = unshared_listener(listener); !found.empty()) return found;
  }
  return std::string();
}

}  // namespace hawser::proxy
