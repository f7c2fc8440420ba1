// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "certs/utc.h"
#include "cli/admin_call.h"
#include "cli/broker_call.h"
#include "cli/proxy.h"
#include "hawser/admin.pb.h"
#include "hawser/broker.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;
using proxy::BinaryFolder;
using proxy::BinaryLink;

// The broker knows every generation, and tells root; hawserd knows the one that serves, and tells everybody.
std::set<std::string> running(const Context& context) {
  std::set<std::string> out;
  broker::v1::Request observe;
  observe.mutable_observe();
  broker::v1::Response seen;
  if (broker_call(context, observe, seen, 5000))
    for (const auto& generation : seen.observe().generations())
      if (generation.running()) out.insert(generation.binary_sha256());
  if (!out.empty()) return out;
  admin::v1::Request request;
  request.mutable_status();
  const auto status = admin_json(context, request);
  const auto digest = json::json_pointer("/proxy/binary_sha256");
  if (status && status->contains(digest) && (*status)[digest].is_string())
    out.insert((*status)[digest].get<std::string>());
  return out;
}

std::string time_of(std::int64_t seconds) {
  return certs::utc_text(certs::wall_of(seconds));
}

json describe(const BinaryFolder& store, const std::string& sha256, const std::set<std::string>& runs) {
  json record = store.record(sha256);
  if (!record.is_object()) record = json::object();
  json out = {{"sha256", sha256},
              {"current", store.target(BinaryLink::kCurrent) == sha256},
              {"previous", store.target(BinaryLink::kPrevious) == sha256},
              {"last_good", store.target(BinaryLink::kLastGood) == sha256},
              {"running", runs.count(sha256) > 0},
              {"quarantine", nullptr}};
  for (const char* name :
       {"version", "build", "hot_restart_version", "size", "source", "signature", "validated", "extensions"})
    out[name] = record.value(name, json());
  const json at = record.value("installed_at", json());
  out["installed"] = at.is_number_integer() ? json(time_of(at.get<std::int64_t>())) : json();
  if (const auto why = store.quarantine(sha256))
    out["quarantine"] = {{"reason", why->reason}, {"since", time_of(why->since)}, {"by", why->by}};
  return out;
}

std::string text(const json& value) {
  return value.is_string() ? value.get<std::string>() : "-";
}

std::string marks(const json& binary) {
  std::string out;
  for (const auto& [key, word] : {std::pair("current", "current"), std::pair("running", "running"),
                                  std::pair("last_good", "last-good"), std::pair("previous", "previous")})
    if (binary[key] == true) out += (out.empty() ? "" : ",") + std::string(word);
  if (binary["quarantine"].is_object()) out += (out.empty() ? "" : ",") + std::string("quarantined");
  return out.empty() ? "-" : out;
}

void print(const json& binary) {
  const json& size = binary["size"];
  const std::string megabytes =
      size.is_number_unsigned() ? std::to_string(size.get<std::uint64_t>() >> 20U) + " MB" : "-";
  std::printf("%-12s  %-9s  %-11s  %-7s  %-20s  %-26s  %s\n", binaries::short_digest(text(binary["sha256"])).c_str(),
              text(binary["version"]).c_str(), text(binary["hot_restart_version"]).c_str(), megabytes.c_str(),
              text(binary["installed"]).c_str(), marks(binary).c_str(), text(binary["source"]).c_str());
  if (const json& why = binary["quarantine"]; why.is_object())
    std::printf("%14squarantined since %s by %s: %s\n", "", text(why["since"]).c_str(), text(why["by"]).c_str(),
                text(why["reason"]).c_str());
}

// What its installation found out besides.
void print_more(const json& binary) {
  std::printf("%14ssha256 %s\n%14sbuild %s\n", "", text(binary["sha256"]).c_str(), "", text(binary["build"]).c_str());
  if (const json& run = binary["validated"]; run.is_object())
    std::printf("%14svalidates, in %lld ms\n", "", static_cast<long long>(run.value("ms", std::int64_t{0})));
  const json& extensions = binary["extensions"];
  if (!extensions.is_object()) return;
  for (const auto& [category, names] : extensions.items()) {
    std::string line;
    for (const auto& name : names) line += (line.empty() ? "" : ", ") + text(name);
    std::printf("%14s%s: %s\n", "", category.c_str(), line.c_str());
  }
}

struct ProxyListOptions {
  bool as_json = false;
  bool verbose = false;
};

void run(Context& context, const ProxyListOptions& options) {
  const auto store = binary_store(context);
  const auto runs = running(context);
  json list = json::array();
  for (const std::string& sha256 : store.list()) list.push_back(describe(store, sha256, runs));
  if (options.as_json) {
    std::printf("%s\n", json{{"schema_version", 1}, {"binaries", list}}.dump(2).c_str());
    return;
  }
  if (list.empty()) {
    std::printf("no proxy binary is installed: hawser proxy install FILE\n");
    return;
  }
  std::printf("%-12s  %-9s  %-11s  %-7s  %-20s  %-26s  %s\n", "DIGEST", "VERSION", "HOT-RESTART", "SIZE", "INSTALLED",
              "MARKS", "SOURCE");
  for (const json& binary : list) {
    print(binary);
    if (options.verbose) print_more(binary);
  }
}

}  // namespace

void add_proxy_list(CLI::App& proxy, Context& context) {
  auto options = std::make_shared<ProxyListOptions>();
  auto* command = proxy.add_subcommand("list", "The binaries of the store, and what each is");
  command->add_flag("--json", options->as_json, "Print as JSON");
  command->add_flag("--verbose", options->verbose, "Also the build and the extensions of each");
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
