// SPDX-License-Identifier: Apache-2.0
#include "proxy_jobs.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "membership.h"
#include "mesh_proxy.h"
#include "status/time_text.h"

namespace hawser {
namespace {

using nlohmann::json;
using Done = std::function<void(Result<std::string>)>;

}  // namespace

json entry_json(const proxy::History::Entry& entry) {
  const bool gate = entry.kind == proxy::History::Entry::Kind::kGate;
  json out = {{"id", entry.id},
              {"time", status::utc_text(entry.at)},
              {"kind", gate ? "gate" : "state"},
              {"generation", entry.generation},
              {"name", entry.name},
              {"reason", entry.reason}};
  if (entry.pid != 0) out["pid"] = entry.pid;
  if (!entry.binary_sha256.empty()) out["binary_sha256"] = entry.binary_sha256;
  if (!entry.version.empty()) out["version"] = entry.version;
  if (!entry.boot.empty()) out["boot_id"] = entry.boot;
  if (gate) out["passed"] = entry.passed;
  if (!gate) out["from"] = entry.from;
  if (entry.took.count() >= 0) out["took_ms"] = entry.took.count();
  return out;
}

namespace {

json restarted_json(const proxy::Supervisor::Restarted& result) {
  json gates = json::array();
  for (const auto& gate : result.gates)
    gates.push_back({{"name", gate.name},
                     {"generation", gate.generation},
                     {"passed", gate.passed},
                     {"reason", gate.reason},
                     {"took_ms", gate.took.count()}});
  json out = {{"schema_version", 1},
              {"hand_over", std::string(proxy::hand_over_name(result.hand_over))},
              {"why", result.why},
              {"gates", std::move(gates)},
              {"old", {{"generation", result.old_generation}, {"pid", result.old_pid}}},
              {"took_ms", result.took.count()}};
  if (result.refused) out["refused_ms"] = result.refused->count();
  out["plan"] = result.plan;
  if (!result.plan) {
    out["new"] = {{"generation", result.generation}, {"pid", result.pid}, {"version", result.version}};
    return out;
  }
  out["new"] = {{"generation", result.generation}};
  out["would_proceed"] = !result.refusal;
  if (result.refusal)
    out["refusal"] = {
        {"id", result.refusal->id()}, {"message", result.refusal->message()}, {"hint", result.refusal->hint()}};
  return out;
}

// None: not understood.
std::optional<proxy::HandOverRequest> request_of(const RestartJob& job) {
  proxy::HandOverRequest out;
  out.kind = proxy::hand_over_kind(job.hand_over);
  out.as_configured = job.hand_over.empty();
  out.plan = job.plan;
  out.limited = true;
  out.binary_sha256 = job.binary_sha256;
  if (!out.kind && !job.hand_over.empty() && job.hand_over != "auto") return std::nullopt;
  return out;
}

struct ProxyRunner {
  MeshProxy& proxy;
  Done done;

  void operator()(const RestartJob& job) const {
    if (job.hand_over == "call-off") {
      const auto called = proxy.supervisor().call_off();
      return done(called ? Result<std::string>(json{{"schema_version", 1}, {"called_off", true}}.dump())
                         : Result<std::string>(called.error()));
    }
    auto request = request_of(job);
    if (!request)
      return done(Error(Code::kInvalidArgument, "HWS-PX-033",
                        "\"" + job.hand_over.substr(0, 40) + "\" is no way to hand over",
                        "auto, side-by-side, hot-restart or planned-cold"));
    proxy.supervisor().restart(std::move(*request),
                               [finish = done](const Result<proxy::Supervisor::Restarted>& result) {
                                 if (!result) return finish(result.error());
                                 finish(restarted_json(*result).dump());
                               });
  }
  void operator()(const HistoryJob& job) const {
    json entries = json::array();
    for (const auto& entry : proxy.history().after(job.after)) entries.push_back(entry_json(entry));
    // Reasons may quote foreign bytes.
    const json out = {{"schema_version", 1}, {"last", proxy.history().last()}, {"entries", std::move(entries)}};
    done(out.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  void operator()(const ProxyStatusJob&) const { proxy.questions().status(proxy.supervisor(), done); }
  void operator()(const ProxyQuestion& question) const {
    proxy.questions().ask(proxy.supervisor().status().generation, question, done);
  }
  void operator()(const DrainJob& job) const {
    Drain::Order order;
    order.listeners = job.listeners;
    order.until_reboot = job.until_reboot;
    if (job.time_ms > 0) order.time = std::chrono::milliseconds(job.time_ms);
    proxy.drain().begin(order, done);
  }
  void operator()(const UndrainJob&) const { proxy.drain().end(done); }
};

}  // namespace

void run_proxy_job(const Membership& membership, const ProxyJob& job, Done done) {
  MeshProxy* proxy = membership.proxy();
  if (proxy == nullptr) return done(Error(Code::kFailedPrecondition, "HWS-MB-002", "no proxy runs", "hawser status"));
  std::visit(ProxyRunner{*proxy, std::move(done)}, job);
}

}  // namespace hawser
