// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/generations.h"

#include <algorithm>
#include <csignal>

#include "base/file.h"
#include "base/log.h"
#include "bootstrap/own_listeners.h"
#include "broker/last_good.h"
#include "broker/proxy_args.h"
#include "proxy/version_words.h"

namespace hawser::broker {
namespace {

constexpr std::size_t kMaxBootstrap = 512U << 10U;
// Readable for the proxy by the folder's setgid group, for nobody else.
constexpr mode_t kBootstrapMode = 0640;
// V8 reserves as much for code, and ends the program if it can't: 1 GiB in all is too little, 2 GiB are enough.
constexpr std::uint64_t kCodeRange = 2ULL << 30U;
constexpr auto kVersionTimeout = std::chrono::milliseconds(3000);

Status check_bootstrap(const std::string& bootstrap) {
  if (!bootstrap.empty() && bootstrap.size() <= kMaxBootstrap) return {};
  return Error(Code::kInvalidArgument, "HWS-BR-016", "a bootstrap of " + std::to_string(bootstrap.size()) + " bytes",
               "it must have from 1 byte to 512 KiB");
}

constexpr std::size_t kMaxOutput = 2 * kMaxBootstrap;  // it may quote the whole bootstrap
constexpr std::size_t kMaxWords = 4096;

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

// What the proxy says about a bootstrap that it refuses. Around the reason there may be any amount of other lines, and
// of the bootstrap itself: its reason is where it begins to complain, or where it ends.
std::string words_in(std::string output) {
  if (const auto at = output.find("[critical]"); at != std::string::npos)
    output.erase(0, output.rfind('\n', at) + 1);  // npos + 1 is 0
  output = trimmed(std::move(output));
  if (output.size() > kMaxWords) output.replace(kMaxWords / 2, output.size() - kMaxWords, " ... ");
  for (char& c : output)
    if (c != '\n' && c != '\t' && (c < 0x20 || c > 0x7e)) c = '?';  // it may quote anything
  return output;
}

}  // namespace

Generations::Generations(AsioLoop& loop, proxy::Launcher& launcher, proxy::BinaryStore& store, Options options)
    : loop_(loop), launcher_(launcher), store_(store), options_(std::move(options)) {}

std::string Generations::bootstrap_path(const std::string& generation, const char* suffix) const {
  return options_.boot_folder + "/" + generation + suffix;
}

void Generations::validate(const Wanted& wanted, Validated done) {
  auto name = parse_generation(wanted.generation);
  if (!name) return done(name.error());
  if (auto checked = check_bootstrap(wanted.bootstrap); !checked) return done(checked.error());
  if (validating_)
    return done(
        Error(Code::kUnavailable, "HWS-BR-018", "another validation is under way", "try again when it is done"));
  auto binary = store_.resolve(wanted.binary_sha256);
  if (!binary) return done(binary.error());
  const std::string path = bootstrap_path(wanted.generation, ".validate.json");
  auto argv = make_proxy_argv(binary->path, path, *name, wanted.args);
  if (!argv) return done(argv.error());
  argv->insert(argv->end(), {"--mode", "validate"});
  // Also of one that is known: that nothing can be written must be found out before the one that serves is ended.
  if (auto written = file::write_atomic(path, wanted.bootstrap, kBootstrapMode); !written) return done(written.error());
  auto resolved = wanted;
  resolved.binary_sha256 = binary->sha256;
  // A start after a boot or a crash: two runs of Envoy would tell what is known.
  if (const std::string version = LastGood(options_.good_folder).version_of(resolved); !version.empty()) {
    versions_[binary->sha256] = version;
    (void)file::remove_durable(path);
    return done(Validation{true, "", version, ""});
  }
  validating_ = true;
  const Validated finished = [this, path, done = std::move(done)](const Result<Validation>& result) {
    validating_ = false;
    (void)file::remove_durable(path);
    done(result);
  };
  find_version(*binary, [this, binary = *binary, argv = *argv, epoch = name->epoch,
                         finished](const Result<std::string>& version) {
    if (!version) return finished(version.error());
    if (epoch == 0) return run_validation(binary, argv, {true, "", *version, ""}, finished);
    find_hot_restart_version(binary, [this, binary, argv, version = *version, finished](const std::string& hot) {
      run_validation(binary, argv, {true, "", version, hot}, finished);
    });
  });
}

void Generations::find_version(const proxy::Binary& binary, std::function<void(Result<std::string>)> done) {
  if (const auto known = versions_.find(binary.sha256); known != versions_.end()) return done(known->second);
  proxy::CheckSpec check;
  check.binary = binary.path;
  check.argv = {binary.path, "--version"};
  check.uid = options_.proxy_uid;
  check.gid = options_.proxy_gid;
  launcher_.validate(check, [this, sha256 = binary.sha256,
                             done = std::move(done)](const Result<proxy::CheckResult>& result) {
    if (!result) return done(result.error());
    const std::string version = proxy::version_words(result->output).version;
    if (version.empty())
      return done(Error(Code::kFailedPrecondition, "HWS-BR-033", "the installed proxy binary doesn't tell its version",
                        "install an Envoy with `hawser proxy install FILE`"));
    versions_[sha256] = version;
    done(version);
  });
}

void Generations::find_hot_restart_version(const proxy::Binary& binary, std::function<void(std::string)> done) {
  if (const auto known = hot_restart_versions_.find(binary.sha256); known != hot_restart_versions_.end())
    return done(known->second);
  proxy::CheckSpec check;
  check.binary = binary.path;
  check.argv = {binary.path, "--hot-restart-version"};
  check.uid = options_.proxy_uid;
  check.gid = options_.proxy_gid;
  check.errors_too = true;  // it's told there
  check.timeout = kVersionTimeout;
  check.keep = 64;
  launcher_.validate(check,
                     [this, sha256 = binary.sha256, done = std::move(done)](const Result<proxy::CheckResult>& result) {
                       std::string version = result && result->exit_code == 0 ? trimmed(result->output) : std::string();
                       if (version.find_first_not_of("0123456789.") != std::string::npos) version.clear();
                       if (!version.empty()) hot_restart_versions_[sha256] = version;
                       done(std::move(version));
                     });
}

void Generations::run_validation(const proxy::Binary& binary, const std::vector<std::string>& argv, Validation known,
                                 const Validated& done) {
  proxy::CheckSpec check;
  check.binary = binary.path;
  check.argv = argv;
  check.uid = options_.proxy_uid;
  check.gid = options_.proxy_gid;
  check.errors_too = true;
  check.timeout = options_.validate_timeout;
  check.keep = kMaxOutput;
  check.memory = options_.validate_memory + (options_.permits.wasm ? kCodeRange : 0);
  check.permits = options_.permits;
  launcher_.validate(check, [known = std::move(known), done](const Result<proxy::CheckResult>& result) {
    if (!result) return done(result.error());
    Validation out = known;
    out.valid = result->exit_code == 0;
    if (!out.valid) out.detail = words_in(result->output);
    done(out);
  });
}

void Generations::start(const Wanted& wanted, proxy::Launcher::Started done) {
  auto name = parse_generation(wanted.generation);
  if (!name) return done(name.error());
  if (auto checked = check_bootstrap(wanted.bootstrap); !checked) return done(checked.error());
  for (const auto& state : launcher_.list())
    // Before its bootstrap is overwritten under it.
    if (state.name == wanted.generation && state.running)
      return done(Error(Code::kAlreadyExists, "HWS-BR-021", "proxy generation " + state.name + " runs already",
                        "end and reap it first, or use the next epoch"));
  auto binary = store_.resolve(wanted.binary_sha256);
  if (!binary) return done(binary.error());
  const std::string path = bootstrap_path(wanted.generation, ".json");
  auto argv = make_proxy_argv(binary->path, path, *name, wanted.args);
  if (!argv) return done(argv.error());

  proxy::GenerationSpec spec;
  spec.name = wanted.generation;
  spec.binary = binary->path;
  spec.binary_sha256 = binary->sha256;
  spec.argv = std::move(*argv);
  spec.uid = options_.proxy_uid;
  spec.gid = options_.proxy_gid;
  spec.bootstrap = path;
  spec.permits = options_.permits;
  spec.memory_max = options_.memory_max;
  if (!options_.log_folder.empty()) spec.log = options_.log_folder + "/" + wanted.generation + ".log";
  const std::string sockets = options_.admin_folder + "/" + wanted.generation;
  spec.leftovers = {sockets + ".admin.sock", sockets + std::string(bootstrap::kWorkerSocketSuffix)};
  spec.family_leftovers = {options_.shm_folder + "/" + shared_memory_name(*name)};
  if (auto written = file::write_atomic(path, wanted.bootstrap, kBootstrapMode); !written) return done(written.error());
  auto remembered = wanted;
  remembered.binary_sha256 = binary->sha256;
  if (auto kept = LastGood(options_.good_folder).remember_started(remembered, versions_[binary->sha256]); !kept)
    log::warn(kept.error().to_string());
  launcher_.start(std::move(spec), [path, done = std::move(done)](const Result<proxy::GenerationState>& state) {
    if (!state && state.error().id() == "HWS-BR-020") (void)file::remove_durable(path);
    done(state);
  });
}

Status Generations::signal(const std::string& generation, int signal) {
  if (auto name = parse_generation(generation); !name) return name.error();
  if (signal != SIGTERM && signal != SIGKILL)
    return Error(Code::kInvalidArgument, "HWS-BR-017", "signal " + std::to_string(signal) + " may not be sent",
                 "only SIGTERM (15) and SIGKILL (9) may");
  return launcher_.signal(generation, signal);
}

void Generations::repair(const std::string& generation, std::function<void(Status)> done) {
  auto name = parse_generation(generation);
  if (!name) return done(name.error());
  bool runs = false;
  for (const auto& state : launcher_.list()) {
    if (!state.running) continue;
    const auto other = parse_generation(state.name);
    if (state.name == generation)
      runs = true;
    else if (other && other->family == name->family)
      return done(Error(Code::kFailedPrecondition, "HWS-BR-042", state.name + " runs beside " + generation,
                        "a mark is taken out only when no successor is on its way"));
  }
  if (!runs || options_.self.empty())
    return done(Error(Code::kFailedPrecondition, "HWS-BR-042", generation + " doesn't run", "hawser status"));
  proxy::CheckSpec check;
  check.binary = options_.self;
  check.argv = {options_.self, "--clear-mark", options_.shm_folder + "/" + shared_memory_name(*name)};
  check.uid = options_.proxy_uid;
  check.gid = options_.proxy_gid;
  check.errors_too = true;
  check.keep = 512;
  launcher_.validate(check, [generation, done = std::move(done)](const Result<proxy::CheckResult>& result) {
    if (!result) return done(result.error());
    if (result->exit_code != 0)
      return done(Error(Code::kInternal, "HWS-BR-043",
                        "the mark in the shared memory of " + generation + " stays: " + trimmed(result->output),
                        "hawser proxy restart --hand-over planned-cold needs no such repair"));
    log::info("a left-over mark was taken out of a proxy's shared memory", {{"generation", generation}});
    done({});
  });
}

bool Generations::any_running() const {
  const auto all = launcher_.list();
  return std::any_of(all.begin(), all.end(), [](const auto& state) { return state.running; });
}

void Generations::remember_good() {
  std::string newest;
  std::uint64_t started = 0;
  for (const auto& state : launcher_.list())
    if (state.running && state.started_at >= started) {
      newest = state.name;
      started = state.started_at;
    }
  if (newest.empty()) return;
  if (auto kept = LastGood(options_.good_folder).promote(newest); !kept) log::warn(kept.error().to_string());
}

Status Generations::quarantine(const std::string& sha256, const std::string& reason) {
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(loop_.wall().time_since_epoch());
  auto done = store_.quarantine(sha256, reason, now.count());
  if (done) log::warn("a proxy binary is quarantined", {{"sha256", sha256}, {"reason", reason}});
  return done;
}

void Generations::forget_good() {
  if (auto gone = LastGood(options_.good_folder).forget(); !gone) log::warn(gone.error().to_string());
  if (auto gone = store_.forget(); !gone) log::warn(gone.error().to_string());
}

void Generations::cold_start(std::function<void(Status)> done) {
  auto good = LastGood(options_.good_folder).load();
  if (!good) return done(good.error());
  const auto start_it = [this, wanted = *good, done = std::move(done)] {
    start(wanted,
          [done](const Result<proxy::GenerationState>& state) { done(state ? Status() : Status(state.error())); });
  };
  const auto all = launcher_.list();
  const bool known =
      std::any_of(all.begin(), all.end(), [&](const auto& state) { return state.name == good->generation; });
  if (!known) return start_it();
  // Nobody has reaped it, and its bootstrap would go with it later.
  launcher_.reap(good->generation, std::chrono::milliseconds(0),
                 [start_it](const Result<proxy::GenerationState>&) { start_it(); });
}

void Generations::reap(const std::string& generation, std::chrono::milliseconds wait, proxy::Launcher::Reaped done) {
  if (auto name = parse_generation(generation); !name) return done(name.error());
  launcher_.reap(generation, std::min(wait, options_.max_wait), std::move(done));
}

}  // namespace hawser::broker
