// SPDX-License-Identifier: Apache-2.0
#include "proxy_jobs.h"

#include <nlohmann/json.hpp>

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

struct Runner {
  MeshProxy& proxy;
  Done done;

  void operator()(const RestartJob&) const {
    proxy.supervisor().restart([finish = done](const Result<proxy::Supervisor::Restarted>& result) {
      if (!result) return finish(result.error());
      const json out = {
          {"schema_version", 1},
          {"old", {{"generation", result->old_generation}, {"pid", result->old_pid}}},
          {"new", {{"generation", result->generation}, {"pid", result->pid}, {"version", result->version}}},
          {"took_ms", result->took.count()}};
      finish(out.dump());
    });
  }
  void operator()(const HistoryJob& job) const {
    json entries = json::array();
    for (const auto& entry : proxy.history().after(job.after)) entries.push_back(entry_json(entry));
    // Reasons may quote foreign bytes.
    const json out = {{"schema_version", 1}, {"last", proxy.history().last()}, {"entries", std::move(entries)}};
    done(out.dump(-1, ' ', false, json::error_handler_t::replace));
  }
  void operator()(const ProxyStatusJob&) const { proxy_status(proxy, done); }
  void operator()(const ProxyQuestion& question) const {
    proxy.questions().ask(proxy.supervisor().status().generation, question, done);
  }
};

}  // namespace

void run_proxy_job(const Membership& membership, const ProxyJob& job, Done done) {
  MeshProxy* proxy = membership.proxy();
  if (proxy == nullptr) return done(Error(Code::kFailedPrecondition, "HWS-MB-002", "no proxy runs", "hawser status"));
  std::visit(Runner{*proxy, std::move(done)}, job);
}

}  // namespace hawser
