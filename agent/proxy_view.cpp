// SPDX-License-Identifier: Apache-2.0
#include "proxy_view.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "mesh_proxy.h"
#include "proxy/connections.h"
#include "proxy/peers.h"
#include "proxy/process_memory.h"
#include "status/time_text.h"

namespace hawser {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxRefusal = 300;
constexpr std::size_t kMaxPeers = 1000;

std::string text_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Those that were silent for longest come last: who streams is looked for more often than who forgot to go.
json peers_json(const proxy::Connections& seen) {
  std::set<std::uint16_t> named;
  for (const auto& each : seen.listeners) named.insert(proxy::listener_port(each.address));
  auto ports = proxy::ports_beside(kOutboundPort, named);
  if (!ports) return {};
  ports->insert({kOutboundPort, kInboundPort});
  auto peers = proxy::observe_peers(*ports);
  if (!peers) return {};
  std::stable_sort(peers->begin(), peers->end(), [](const auto& a, const auto& b) { return a.idle < b.idle; });
  if (peers->size() > kMaxPeers) peers->resize(kMaxPeers);
  json out = json::array();
  for (const auto& each : *peers) out.push_back(proxy::peer_json(each));
  return out;
}

json connections_json(const std::string& generation, const proxy::Connections& seen) {
  json out = {{"schema_version", 1}, {"generation", generation}};
  out["listeners"] = json::array();
  for (const auto& each : seen.listeners)
    out["listeners"].push_back({{"address", each.address}, {"connections", each.connections}});
  out["http"] = json::array();
  for (const auto& each : seen.managers)
    out["http"].push_back({{"prefix", each.prefix},
                           {"connections", each.connections},
                           {"open_requests", each.requests},
                           {"upgraded", each.upgraded}});
  out["clusters"] = json::array();
  for (const auto& each : seen.clusters)
    out["clusters"].push_back(
        {{"name", each.name}, {"connections", each.connections}, {"open_requests", each.requests}});
  if (auto peers = peers_json(seen); !peers.is_null()) out["peers"] = std::move(peers);
  return out;
}

std::string dump_path(const ProxyQuestion& question) {
  std::string out = "/config_dump";
  const auto add = [&out](const char* name, const std::string& value) {
    if (value.empty()) return;
    out +=
        (out.find('?') == std::string::npos ? "?" : "&") + std::string(name) + "=" + proxy::AdminClient::encode(value);
  };
  add("resource", question.resource);
  add("mask", question.mask);
  add("name_regex", question.name_regex);
  if (question.endpoints) out += out.find('?') == std::string::npos ? "?include_eds" : "&include_eds";
  return out;
}

Error refused(const proxy::AdminReply& reply) {
  return {Code::kInvalidArgument, "HWS-PX-063",
          "the proxy answers with status " + std::to_string(reply.status) + ": " + reply.body.substr(0, kMaxRefusal),
          "see hawser proxy config-dump --help for what may be asked"};
}

json view_json(const proxy::Supervisor::View& view, Loop::Wall now) {
  json out = {{"generation", view.generation},
              {"role", view.role},
              {"state", view.state},
              {"since", status::utc_text(view.since)}};
  if (view.pid != 0) out["pid"] = view.pid;
  if (!view.binary_sha256.empty()) out["binary_sha256"] = view.binary_sha256;
  if (!view.version.empty()) out["version"] = view.version;
  if (!view.came_by.empty()) out["came_by"] = view.came_by;
  if (view.ends_by) {
    using std::chrono::duration_cast;
    using std::chrono::milliseconds;
    out["drain_left_ms"] = std::max<std::int64_t>(0, duration_cast<milliseconds>(*view.ends_by - now).count());
  }
  const auto memory = proxy::process_memory(view.generation, view.pid);
  if (memory.rss) out["memory"]["rss_bytes"] = *memory.rss;
  if (memory.pss) out["memory"]["pss_bytes"] = *memory.pss;
  if (memory.cgroup) out["memory"]["cgroup_bytes"] = *memory.cgroup;
  if (memory.limit) out["memory"]["limit_bytes"] = *memory.limit;
  return out;
}

json capabilities_json(const proxy::Capabilities& can) {
  return {{"hot_restart", can.hot_restart},
          {"side_by_side", can.side_by_side},
          {"drain", can.drain},
          {"connection_count", can.connection_count},
          {"waits_for_listeners", can.waits_for_listeners},
          {"worker_request", can.worker_request},
          {"data_path_probe", can.data_path_probe},
          {"flush_mark", can.flush_mark},
          {"stand_in", can.stand_in}};
}

}  // namespace

void ProxyQuestions::ask(const std::string& serving, const ProxyQuestion& question, Done done) {
  if (!question.token.empty()) return done(part(question.token, question.offset));
  const std::string& generation = question.generation.empty() ? serving : question.generation;
  if (!proxy::generation_id(generation))
    return done(Error(Code::kNotFound, "HWS-PX-001", "there is no generation '" + generation.substr(0, 32) + "'",
                      "hawser proxy status shows those that run"));
  if (question.what == "connections") return ask_connections(generation, std::move(done));
  if (question.what == "config_dump") return ask_dump(generation, question, std::move(done));
  done(Error(Code::kInvalidArgument, "HWS-AD-002", "the proxy can't be asked for that",
             "use the same version of hawser and hawserd"));
}

void ProxyQuestions::ask_connections(const std::string& generation, Done done) {
  driver_.ask(generation, proxy::connections_query(),
              [this, alive = std::weak_ptr(alive_), generation,
               done = std::move(done)](const Result<proxy::AdminReply>& reply) {
                if (alive.expired()) return;
                if (!reply) return done(reply.error());
                if (reply->status != 200) return done(refused(*reply));
                // The kernel goes through all its connections for the peers.
                slow_.submit([generation, seen = proxy::parse_connections(reply->body), done, &loop = loop_] {
                  loop.post([done, text = text_of(connections_json(generation, seen))] { done(text); });
                });
              });
}

void ProxyQuestions::ask_dump(const std::string& generation, const ProxyQuestion& question, Done done) {
  driver_.ask(generation, dump_path(question),
              [this, alive = std::weak_ptr(alive_), done = std::move(done)](Result<proxy::AdminReply> reply) {
                if (alive.expired()) return;
                if (!reply) return done(reply.error());
                if (reply->status != 200) return done(refused(*reply));
                token_ = std::to_string(++asked_);
                dump_ = std::move(reply->body);
                done(part(token_, 0));
              });
}

// Never ends within a character: each part is a text of its own.
Result<std::string> ProxyQuestions::part(const std::string& token, std::uint64_t offset) {
  if (token != token_ || token.empty() || offset > dump_.size())
    return Error(Code::kAborted, "HWS-PX-064", "that dump isn't held any more", "ask again");
  std::size_t end = std::min<std::size_t>(dump_.size(), offset + kPart);
  while (end < dump_.size() && end > offset + 1 && (static_cast<unsigned char>(dump_[end]) & 0xC0U) == 0x80U) --end;
  const json out = {{"schema_version", 1},
                    {"token", token},
                    {"size", dump_.size()},
                    {"offset", offset},
                    {"part", dump_.substr(offset, end - offset)}};
  const auto drop = [this] {
    token_.clear();
    dump_ = std::string();
  };
  if (end == dump_.size()) {
    timer_.reset();
    drop();
  } else {
    timer_ = loop_.after(kHeld, drop);
  }
  return text_of(out);
}

void ProxyQuestions::status(const proxy::Supervisor& supervisor, Done done) {
  on_status_.push_back(std::move(done));
  if (on_status_.size() > 1) return;
  struct Pending {
    json generations = json::array();
    json capabilities;
    std::size_t awaited = 1;
    std::function<void(const std::string&)> tell;
    void step() {
      if (--awaited > 0) return;
      tell(text_of(
          {{"schema_version", 1}, {"generations", std::move(generations)}, {"capabilities", std::move(capabilities)}}));
    }
  };
  auto pending = std::make_shared<Pending>();
  pending->capabilities = capabilities_json(driver_.capabilities());
  pending->tell = [this, alive = std::weak_ptr(alive_)](const std::string& text) {
    if (alive.expired()) return;
    for (auto& waiting : std::exchange(on_status_, {})) waiting(text);
  };
  const auto now = std::chrono::time_point_cast<Loop::Duration>(std::chrono::system_clock::now());
  for (const auto& view : supervisor.generations()) {
    const std::size_t at = pending->generations.size();
    pending->generations.push_back(view_json(view, now));
    ++pending->awaited;
    driver_.count_connections(view.generation, [pending, at](const Result<std::uint64_t>& count) {
      if (count) pending->generations[at]["connections"] = *count;
      pending->step();
    });
  }
  pending->step();
}

}  // namespace hawser
