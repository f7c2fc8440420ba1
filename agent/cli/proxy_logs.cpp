// SPDX-License-Identifier: Apache-2.0
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>

#include "cli/command.h"
#include "cli/proxy.h"
#include "proxy/generation_name.h"

namespace hawser::cli {
namespace {

struct ProxyLogsOptions {
  bool follow = false;
  std::string generation;
  unsigned lines = 200;
  std::string folder;
};

void replace_by(Context& context, const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const auto& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  fail(context, Error(Code::kNotFound, "HWS-CLI-020", "can't run " + words[0] + ": " + std::strerror(errno),
                      "install it, or read the broker's log: the proxy writes there without systemd"));
}

// Each generation is a unit of its own, in a slice where nothing else writes to the journal, which has the generation's
// name as a field, too. Not by a pattern of units: journalctl compares that with those it knows when it begins, so that
// who follows wouldn't see the next generation.
std::vector<std::string> journal(const ProxyLogsOptions& options) {
  std::vector<std::string> out{"journalctl", "--no-hostname", "-n", std::to_string(options.lines)};
  if (options.follow)
    out.emplace_back("-f");
  else
    out.emplace_back("--no-pager");
  out.push_back(options.generation.empty() ? "_SYSTEMD_SLICE=hawser.slice" : "HAWSER_GENERATION=" + options.generation);
  return out;
}

// hawser-broker --proxy-log-dir: a file a generation.
Result<std::vector<std::string>> files(const ProxyLogsOptions& options) {
  std::vector<std::string> found;
  std::error_code error;
  for (std::filesystem::directory_iterator at(options.folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().stem().string();
    if (at->path().extension() != ".log" || !proxy::generation_id(name)) continue;
    if (options.generation.empty() || options.generation == name) found.push_back(at->path().string());
  }
  if (error)
    return Error(Code::kNotFound, "HWS-CLI-020", "can't read " + options.folder + ": " + error.message(),
                 "the folder of hawser-broker's --proxy-log-dir");
  if (found.empty())
    return Error(Code::kNotFound, "HWS-CLI-020", "no log of a proxy is in " + options.folder,
                 "the folder of hawser-broker's --proxy-log-dir");
  std::sort(found.begin(), found.end());
  std::vector<std::string> out{"tail", "-n", std::to_string(options.lines)};
  if (options.follow) out.emplace_back("-F");
  out.emplace_back("--");
  out.insert(out.end(), found.begin(), found.end());
  return out;
}

void run(Context& context, const ProxyLogsOptions& options) {
  if (!options.generation.empty() && !proxy::generation_id(options.generation)) {
    context.exit_code = EX_USAGE;
    return warn("--generation: names are f<family>e<epoch>, like f1e0");
  }
  if (options.folder.empty()) return replace_by(context, journal(options));
  const auto words = files(options);
  if (!words) return fail(context, words.error());
  replace_by(context, *words);
}

}  // namespace

void add_proxy_logs(CLI::App& proxy, Context& context) {
  auto* command =
      proxy.add_subcommand("logs", "What the proxy writes, all generations or one: journalctl does the work");
  auto options = std::make_shared<ProxyLogsOptions>();
  command->add_flag("-f,--follow", options->follow, "Go on with what is written, until interrupted");
  command->add_option("--generation", options->generation, "Only this one");
  command->add_option("-n,--lines", options->lines, "How many of the last lines")->capture_default_str();
  command->add_option("--dir", options->folder, "Without systemd: the folder of hawser-broker's --proxy-log-dir");
  command->callback([&context, options] { run(context, *options); });
}

}  // namespace hawser::cli
