// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <cstdio>

#include "app.h"
#include "base/log.h"
#include "base/service_notify.h"
#include "config/load.h"
#include "machine_shutdown.h"

namespace {

// Signals must be blocked before any library makes a thread: a thread of gRPC's would take them otherwise. Asio's
// signal_set unblocks nothing; it installs handlers, so the loop's thread unblocks them again.
void block_signals(int how) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  pthread_sigmask(how, &set, nullptr);
}

// One arena and high thresholds: pushes of megabytes are returned to the kernel instead of staying (see
// ARCHITECTURE.md).
void tune_malloc() {
  mallopt(M_ARENA_MAX, 1);
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
}

// For a name server or a disk that doesn't answer: the host that shuts down doesn't wait for the thread that does. What
// is durable is written so that any moment may be the last.
constexpr std::chrono::seconds kStopTime{3};
void bound_stop(std::chrono::seconds more) {
  ::signal(SIGALRM, [](int) { ::_exit(EX_OK); });
  ::alarm(static_cast<unsigned>((kStopTime + more).count()));
}

void stop(hawser::App& app, hawser::AsioLoop& loop) {
  constexpr std::chrono::milliseconds kAskTime{500};
  bound_stop(std::chrono::seconds(0));  // the question's own limit isn't for the connection
  const bool machine = hawser::machine_shuts_down(kAskTime);
  const auto more = machine ? app.shutdown_bound() : std::chrono::seconds(0);
  if (machine) bound_stop(more);
  // TimeoutStopSec= may be shorter than what is configured.
  if (machine) hawser::notify_extend(kStopTime + more);
  app.stop(machine ? hawser::App::Ending::kMachine : hawser::App::Ending::kService, [&loop] { loop.stop(); });
}

// Keys and tokens pass through libraries' memory, which only the whole process can keep out of core files, and out of
// reach of other processes of our user. The leak checker of debug builds has to look into its own process.
void forbid_dumps() {
#if !defined(__SANITIZE_ADDRESS__)
  ::prctl(PR_SET_DUMPABLE, 0);
#endif
}

int refuse(const std::vector<hawser::Error>& errors) {
  for (const auto& error : errors) std::fprintf(stderr, "hawserd: %s\n", error.to_string().c_str());
  return EX_CONFIG;
}

}  // namespace

int main(int argc, char** argv) {
  tune_malloc();
  forbid_dumps();
  CLI::App flags("hawserd: identity, xDS relay and registration of a mesh host", "hawserd");
  flags.set_version_flag("--version", std::string("hawserd ") + HAWSER_VERSION);
  hawser::AppOptions options;
  flags.add_option("--config", options.paths.main_file, "Main configuration file")->capture_default_str();
  flags.add_option("--config-dir", options.paths.drop_in_dir, "Folder of drop-ins")->capture_default_str();
  try {
    flags.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return flags.exit(error) == 0 ? EX_OK : EX_USAGE;
  }
  auto loaded = hawser::config::load(options.paths);
  if (!loaded.errors.empty()) return refuse(loaded.errors);
  hawser::log::init("hawserd", loaded.config.log.level, loaded.config.log.format);
  block_signals(SIG_BLOCK);
  ::signal(SIGPIPE, SIG_IGN);  // a peer that went away is an error of write(2), not our end

  hawser::AsioLoop loop;
  boost::asio::signal_set signals(loop.context(), SIGTERM, SIGINT);
  hawser::App app(loop, options);
  if (auto started = app.start(std::move(loaded.config)); !started) {
    hawser::log::error(started.error().to_string());
    return started.error().code() == hawser::Code::kAlreadyExists ? EX_TEMPFAIL : EX_OSERR;
  }
  signals.async_wait([&](const boost::system::error_code& error, int) {
    if (error) return;
    stop(app, loop);
  });
  block_signals(SIG_UNBLOCK);
  loop.run();
  return EX_OK;
}
