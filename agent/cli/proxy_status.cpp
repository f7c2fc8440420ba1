// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/proxy.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

constexpr double kMiB = 1048576.0;
constexpr std::size_t kShortDigest = 12;

// The row of `hawser status`: what is wrong with the proxy, if anything.
Result<json> health_of_proxy(Context& context) {
  admin::v1::Request request;
  request.mutable_status();
  auto status = admin_json(context, request);
  if (!status) return status.error();
  for (const auto& item : status->value("items", json::array()))
    if (item.value("name", "") == "proxy") return item;
  return json::object();
}

std::string memory_text(const json& memory) {
  constexpr std::pair<const char*, const char*> kKinds[] = {
      {"pss_bytes", "PSS"}, {"rss_bytes", "RSS"}, {"cgroup_bytes", "its unit"}};
  char text[96];
  for (const auto& [key, name] : kKinds) {
    const auto found = memory.find(key);
    if (found == memory.end()) continue;
    std::snprintf(text, sizeof(text), "%.1f MiB (%s)", found->get<double>() / kMiB, name);
    return text;
  }
  return {};
}

void print_generation(const json& one) {
  std::printf("  %-7s %-9s %s since %s", one.value("generation", "").c_str(), one.value("role", "").c_str(),
              one.value("state", "").c_str(), one.value("since", "").c_str());
  if (one.contains("pid")) std::printf(", pid %d", one.value("pid", 0));
  if (one.contains("came_by")) std::printf(", by %s", one.value("came_by", "").c_str());
  std::printf("\n");
  std::string line;
  const auto add = [&line](const std::string& part) { line += (line.empty() || part.empty() ? "" : ", ") + part; };
  if (one.contains("version")) add("Envoy " + one.value("version", ""));
  if (one.contains("binary_sha256")) add("sha256 " + one.value("binary_sha256", "").substr(0, kShortDigest));
  if (one.contains("connections")) add(std::to_string(one.value("connections", 0ULL)) + " connections");
  if (one.contains("memory")) add(memory_text(one["memory"]));
  if (one.contains("drain_left_ms"))
    add("ends within " + std::to_string((one.value("drain_left_ms", 0LL) + 999) / 1000) + " s");
  if (!line.empty()) std::printf("  %-17s %s\n", "", line.c_str());
}

void print_proxy(const json& status) {
  const json health = status.value("health", json::object());
  std::printf("%s: %s\n", health.value("state", "none").c_str(), health.value("detail", "").c_str());
  if (const auto fix = health.value("fix", ""); !fix.empty())
    std::printf("  fix: %s [%s]\n", fix.c_str(), health.value("id", "").c_str());
  for (const auto& one : status.value("generations", json::array())) print_generation(one);
}

void run_proxy_status(Context& context, bool as_json) {
  admin::v1::Request request;
  request.mutable_proxy_status();
  auto answer = admin_json(context, request);
  if (!answer) return fail(context, answer.error());
  auto health = health_of_proxy(context);
  if (!health) return fail(context, health.error());
  (*answer)["health"] = std::move(*health);
  if (as_json)
    std::printf("%s\n", answer->dump(2).c_str());
  else
    print_proxy(*answer);
}

}  // namespace

void add_proxy_status(CLI::App& proxy, Context& context) {
  auto* command = proxy.add_subcommand("status", "The generations that run, also those that drain");
  auto as_json = std::make_shared<bool>(false);
  command->add_flag("--json", *as_json, "Print as JSON");
  command->callback([&context, as_json] { run_proxy_status(context, *as_json); });
}

}  // namespace hawser::cli
