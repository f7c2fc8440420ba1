// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/admin_call.h"
#include "cli/command.h"
#include "cli/peer_line.h"
#include "cli/proxy.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

using nlohmann::json;

struct ProxyConnectionsOptions {
  bool as_json = false;
  std::string generation;
  std::size_t peers = 10;
};

void print_rows(const json& answer, const char* list, const char* name, const char* title) {
  for (const auto& row : answer.value(list, json::array())) {
    std::printf("  %-9s %-56s %6llu", title, row.value(name, "").c_str(), row.value("connections", 0ULL));
    if (row.contains("open_requests")) std::printf(" %9llu", row.value("open_requests", 0ULL));
    if (row.value("upgraded", 0ULL) > 0) std::printf("  %llu upgraded", row.value("upgraded", 0ULL));
    std::printf("\n");
  }
}

void print_peers(const json& answer, std::size_t most) {
  const json peers = answer.value("peers", json::array());
  for (std::size_t i = 0; i < peers.size() && i < most; ++i)
    std::printf("  %-9s %s, at port %d\n", "peer", peer_line(peers[i]).c_str(), peers[i].value("local_port", 0));
  if (peers.size() > most) std::printf("  %zu more peers: --peers, or --json\n", peers.size() - most);
}

void run(Context& context, const ProxyConnectionsOptions& options) {
  admin::v1::Request request;
  request.mutable_proxy_ask()->set_what("connections");
  request.mutable_proxy_ask()->set_generation(options.generation);
  auto answer = admin_json(context, request);
  if (!answer) return fail(context, answer.error());
  if (options.as_json) {
    std::printf("%s\n", answer->dump(2).c_str());
    return;
  }
  std::printf("%s\n  %-9s %-56s %6s %9s\n", answer->value("generation", "").c_str(), "", "", "OPEN", "REQUESTS");
  print_rows(*answer, "listeners", "address", "listener");
  print_rows(*answer, "http", "prefix", "http");
  print_rows(*answer, "clusters", "name", "cluster");
  print_peers(*answer, options.peers);
}

}  // namespace

void add_proxy_connections(CLI::App& proxy, Context& context) {
  auto* command = proxy.add_subcommand(
      "connections", "Open connections and requests by listener and by cluster, and who is connected");
  auto options = std::make_shared<ProxyConnectionsOptions>();
  command->add_flag("--json", options->as_json, "Print as JSON");
  command->add_option("--generation", options->generation, "Of this one instead of the one that serves");
  command->add_option("--peers", options->peers, "So many of those that are connected, the busy ones first")
      ->capture_default_str();
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
