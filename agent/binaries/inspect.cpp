// SPDX-License-Identifier: Apache-2.0
#include "binaries/inspect.h"

#include <sstream>

#include "base/asio_loop.h"
#include "base/file.h"
#include "proxy/child.h"
#include "proxy/version_words.h"

namespace hawser::binaries {
namespace {

using proxy::ChildResult;
using proxy::ChildSpec;

constexpr std::chrono::seconds kLongest{30};
constexpr std::uint64_t kMemory = 1ULL << 30U;  // Envoy needs 62 MB
constexpr std::size_t kWords = 4096;
constexpr std::size_t kAllExtensions = 256U << 10U;  // 30 KiB of Envoy 1.40
constexpr const char* kHint = "install an Envoy that is built for this machine";

// What each proxy of a mesh has: a captured connection's original destination, TCP, HTTP.
constexpr const char* kBootstrap = R"({
  "node": {"id": "hawser", "cluster": "hawser"},
  "static_resources": {
    "listeners": [{
      "name": "captured", "bind_to_port": false,
      "address": {"socket_address": {"address": "127.0.0.1", "port_value": 15001}},
      "listener_filters": [{"name": "original_dst", "typed_config":
        {"@type": "type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst"}}],
      "filter_chains": [{"filters": [{"name": "http", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "http", "route_config": {},
        "http_filters": [{"name": "router", "typed_config":
          {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}],
      "default_filter_chain": {"filters": [{"name": "tcp", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp", "cluster": "passthrough"}}]}}],
    "clusters": [{"name": "passthrough", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}]
  }
}
)";

Result<ChildResult> run_as(const User& user, const std::string& program, std::vector<std::string> args,
                           std::size_t keep = kWords) {
  ChildSpec spec;
  spec.binary = program;
  spec.args = std::move(args);
  spec.uid = user.uid;
  spec.gid = user.gid;
  spec.collect_stderr = true;
  spec.timeout = kLongest;
  spec.memory = kMemory;
  spec.keep = keep;
  AsioLoop loop;
  Result<ChildResult> out = Error(Code::kInternal, "HWS-CLI-046", program + " didn't run", "report it");
  proxy::run_child(loop, std::move(spec), [&](Result<ChildResult> result) {
    out = std::move(result);
    loop.stop();
  });
  loop.run();
  return out;
}

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (const auto start = text.rfind('\n'); start != std::string::npos) text.erase(0, start + 1);
  return text;
}

Error unusable(const std::string& what, const std::string& said) {
  return {Code::kFailedPrecondition, "HWS-CLI-046", what + (said.empty() ? "" : ": " + said), kHint};
}

Result<std::string> ask(const User& user, const std::string& program, std::vector<std::string> args) {
  const std::string flag = args.front();
  auto result = run_as(user, program, std::move(args));
  if (!result) return unusable("the program can't be run", result.error().message());
  if (result->exit_code != 0)
    return unusable("the program ended with " + std::to_string(result->exit_code) + " at " + flag,
                    last_line(result->output));
  return last_line(result->output);
}

Status read_version(const std::string& said, Inspection& out) {
  auto words = proxy::version_words(said);
  if (words.version.empty()) return unusable("the program doesn't tell an Envoy's version", said);
  out.build = std::move(words.build);
  out.version = std::move(words.version);
  return {};
}

Status validate(const std::string& program, const std::string& folder, const User& user, Inspection& out) {
  const std::string bootstrap = folder + "/bootstrap.json";
  if (auto written = file::write_atomic(bootstrap, kBootstrap, 0644); !written) return written;
  const auto start = std::chrono::steady_clock::now();
  auto said = ask(user, program, {"--mode", "validate", "-c", bootstrap, "--disable-hot-restart", "-l", "error"});
  out.validated_in = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
  (void)file::remove_durable(bootstrap);
  if (!said) return said.error();
  return {};
}

// It tells them before it reads its bootstrap, so one that isn't there ends it before it opens anything.
Extensions ask_extensions(const std::string& program, const std::string& folder, const User& user) {
  const auto result =
      run_as(user, program, {"-c", folder + "/none.json", "--disable-hot-restart", "-l", "info", "--log-format", "%v"},
             kAllExtensions);
  return result ? parse_extensions(result->output) : Extensions();
}

}  // namespace

// statically linked extensions:
//   envoy.filters.http: envoy.filters.http.buffer, envoy.filters.http.cors
Extensions parse_extensions(const std::string& said) {
  Extensions out;
  std::istringstream lines(said);
  std::string line;
  while (std::getline(lines, line) && line != "statically linked extensions:") {
  }
  while (std::getline(lines, line) && line.rfind("  ", 0) == 0) {
    const auto colon = line.find(": ");
    if (colon == std::string::npos) break;
    auto& names = out[line.substr(2, colon - 2)];
    std::istringstream rest(line.substr(colon + 2));
    for (std::string name; std::getline(rest >> std::ws, name, ',');) names.push_back(name);
  }
  return out;
}

Result<Inspection> inspect(const std::string& program, const std::string& folder, const User& user) {
  if (user.uid == 0) return unusable("the program isn't run as root", "");
  Inspection out;
  auto said = ask(user, program, {"--version"});
  if (!said) return said.error();
  if (auto read = read_version(*said, out); !read) return read.error();
  // An Envoy that is built without it says "disabled".
  auto restart = ask(user, program, {"--hot-restart-version"});
  if (!restart) return restart.error();
  out.hot_restart_version = *restart;
  if (auto valid = validate(program, folder, user, out); !valid) return valid.error();
  out.extensions = ask_extensions(program, folder, user);
  return out;
}

}  // namespace hawser::binaries
