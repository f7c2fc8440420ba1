// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
// hawser-broker: the privileged half. Parses its command line, wires the parts, runs until SIGTERM.
#include <grp.h>
#include <malloc.h>
#include <nss.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "base/asio_loop.h"
#include "base/log.h"
#include "base/service_notify.h"
#include "base/unix_socket.h"
#include "broker/backend.h"
#include "broker/drift_feed.h"
#include "broker/fd_store.h"
#include "broker/generations.h"
#include "broker/guardian.h"
#include "broker/interception.h"
#include "broker/jobs.h"
#include "broker/memory_limit.h"
#include "broker/server.h"
#include "broker/withdraw.h"
#include "netfilter/conntrack.h"
#include "netfilter/guard.h"
#include "netfilter/leftovers.h"
#include "netfilter/probe.h"
#include "netfilter/sockets.h"
#include "netfilter/takeover.h"
#include "proxy/binary_store.h"
#include "proxy/direct_launcher.h"
#include "proxy/holder.h"
#include "proxy/shared_mark.h"
#include "proxy/systemd_launcher.h"

namespace hawser {
namespace {

struct Arguments {
  std::string agent_user = "hawser";
  std::string proxy_user = "hawser-proxy";
  std::string launcher = "auto";
  std::string backend = "auto";
  std::string socket = "/run/hawser/broker.sock";
  std::string state_dir = "/var/lib/hawser";
  std::string proxy_log_dir;
  std::vector<std::string> proxy_allow;
  std::string proxy_memory_max = broker::kDefaultMemoryMax;
  std::string log_level = "info";
  std::string log_format = "text";
  std::string succession = "adopt";
  unsigned guardian_wait_ms = 10'000;
  unsigned guardian_live_ms = 20'000;
  unsigned validate_wait_ms = 30'000;
};

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
};

Error unknown_user(const std::string& text) {
  return {Code::kInvalidArgument, "HWS-BR-006", "\"" + text + "\" is no user of this host (or it's root)",
          "give USER[:GROUP] as names or numbers; the packages make hawser and hawser-proxy"};
}

bool parse_number(const std::string& text, unsigned& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// A number needs no entry in passwd(5); its group is then the same number.
Result<User> resolve(const std::string& text) {
  const auto colon = text.find(':');
  const std::string name = text.substr(0, colon);
  User user;
  const bool numeric = parse_number(name, user.uid);
  const bool whole = numeric && colon != std::string::npos;  // then nobody needs to be asked
  const passwd* entry = whole ? nullptr : numeric ? ::getpwuid(user.uid) : ::getpwnam(name.c_str());
  if (entry == nullptr && !numeric) return unknown_user(text);
  if (entry != nullptr) user = {entry->pw_uid, entry->pw_gid};
  if (entry == nullptr) user.gid = user.uid;
  if (colon != std::string::npos) {
    const std::string group = text.substr(colon + 1);
    if (!parse_number(group, user.gid)) {
      const ::group* found = ::getgrnam(group.c_str());
      if (found == nullptr) return unknown_user(text);
      user.gid = found->gr_gid;
    }
  }
  // Root's own traffic isn't the proxy's, and a proxy as root is what all this is there to avoid.
  if (user.uid == 0 || user.gid == 0) return unknown_user(text);
  return user;
}

// From now on. libnftables looks for a user named "881" before it takes that for a number: a directory on the network
// isn't waited for while rules change, and its modules needn't be loaded.
void look_up_in_files() {
  for (const char* database : {"passwd", "group"}) (void)::__nss_configure_lookup(database, "files");
}

// libnftables needs a megabyte or two for a plan, and leaves them to us in pieces.
class Memory {
 public:
  explicit Memory(Loop& loop) : loop_(loop) {}
  void give_back_soon() {
    timer_ = loop_.after(std::chrono::milliseconds(500), [this] {
      timer_.reset();
      ::malloc_trim(0);
    });
  }

 private:
  Loop& loop_;
  std::unique_ptr<Loop::Timer> timer_;
};

log::Level level_of(const std::string& name) {
  if (name == "debug") return log::Level::kDebug;
  if (name == "warn") return log::Level::kWarn;
  return name == "error" ? log::Level::kError : log::Level::kInfo;
}

int refuse(const Error& error, int code) {
  log::error(error.to_string());
  return code;
}

int exit_code(const Error& error) {
  if (error.code() == Code::kPermissionDenied) return EX_NOPERM;
  return error.code() == Code::kInvalidArgument ? EX_USAGE : EX_UNAVAILABLE;
}

std::uint64_t host_memory() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// Root's own word, never hawserd's. Without one: what the launcher's sandbox can stand, and the direct one has none.
ExtensionPermits permits(const Arguments& arguments, bool by_systemd) {
  if (arguments.proxy_allow.empty()) return by_systemd ? ExtensionPermits() : kEveryExtension;
  return permits_of(arguments.proxy_allow);
}

// Nothing of it with the direct launcher, which has no group of processes to limit.
std::uint64_t memory_max(const Arguments& arguments, bool by_systemd) {
  return by_systemd ? broker::parse_memory_max(arguments.proxy_memory_max, host_memory()).value_or(0) : 0;
}

std::unique_ptr<proxy::Launcher> make_launcher(AsioLoop& loop, bool by_systemd, const std::string& run_folder) {
  if (by_systemd) {
    proxy::SystemdLauncher::Options options;
    options.run_folder = run_folder;
    return std::make_unique<proxy::SystemdLauncher>(loop, proxy::connect_systemd(loop, {}), options);
  }
  proxy::DirectLauncher::Options options;
  options.run_folder = run_folder;
  return std::make_unique<proxy::DirectLauncher>(loop, options);
}

broker::Guardian::Actions guardian_actions(broker::Interception& interception, broker::Generations& generations) {
  return {[&interception] { return interception.guarded(); },
          [&generations] { return generations.any_running(); },
          [&interception] { return interception.listeners_bound(); },
          [&generations](auto done) { generations.cold_start(std::move(done)); },
          [&interception] { return interception.restore(); },
          [&interception] { return interception.apply_policy(); }};
}

// Without the kernel's word, changes by others are found by looking.
std::unique_ptr<broker::DriftFeed> watch_drift(AsioLoop& loop, broker::Interception& interception) {
  auto events = netfilter::DriftEvents::make();
  if (!events) {
    log::warn(events.error().to_string());
    return nullptr;
  }
  return std::make_unique<broker::DriftFeed>(loop, std::move(*events),
                                             [&interception](const auto& changes) { interception.heard(changes); });
}

int run(const Arguments& arguments) {
  auto agent = resolve(arguments.agent_user);
  if (!agent) return refuse(agent.error(), EX_NOUSER);
  auto proxy_user = resolve(arguments.proxy_user);
  if (!proxy_user) return refuse(proxy_user.error(), EX_NOUSER);
  auto kind = netfilter::parse_backend(arguments.backend);
  if (!kind) return refuse(kind.error(), EX_USAGE);
  if (::geteuid() != 0)
    return refuse(Error(Code::kPermissionDenied, "HWS-BR-007", "hawser-broker must run as root",
                        "start it by its unit; its capabilities are bounded there"),
                  EX_NOPERM);
  look_up_in_files();
  ::umask(0077);
  ::signal(SIGPIPE, SIG_IGN);

  AsioLoop loop;
  // First, so that a second instance ends here, and touches nothing.
  auto socket = listen_unix("broker", arguments.socket, 0660);
  if (!socket) return refuse(socket.error(), exit_code(socket.error()));
  broker::Interception::Options interception_options;
  interception_options.plan_path = arguments.state_dir + "/netfilter/plan.pb";
  auto record = broker::PlanRecord::load(interception_options.plan_path);
  if (!record) log::warn(record.error().to_string());
  auto fd_store = broker::FdStore::of_environment();
  auto backend = broker::make_backend(
      fd_store, *kind, record && record->in_force ? record->in_force->digest : std::string(), arguments.succession);
  if (!backend) return refuse(backend.error(), exit_code(backend.error()));

  const bool by_systemd =
      arguments.launcher == "systemd" || (arguments.launcher == "auto" && proxy::SystemdLauncher::possible());
  const auto launcher = make_launcher(loop, by_systemd, arguments.state_dir + "/proxy/run");
  if (auto adopted = launcher->adopt(); !adopted) return refuse(adopted.error(), EX_UNAVAILABLE);
  proxy::BinaryStore store(arguments.state_dir + "/proxy/bin", 0, arguments.state_dir + "/proxy/verified");

  broker::Generations::Options generation_options;
  generation_options.proxy_uid = proxy_user->uid;
  generation_options.proxy_gid = proxy_user->gid;
  generation_options.boot_folder = arguments.state_dir + "/proxy/boot";
  generation_options.good_folder = arguments.state_dir + "/proxy";
  generation_options.log_folder = arguments.proxy_log_dir;
  std::error_code ignored;
  generation_options.self = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  generation_options.permits = permits(arguments, by_systemd);
  generation_options.memory_max = memory_max(arguments, by_systemd);
  generation_options.validate_timeout = std::chrono::milliseconds(arguments.validate_wait_ms);
  broker::Generations generations(loop, *launcher, store, generation_options);

  interception_options.exempt_uids = {agent->uid, proxy_user->uid};
  interception_options.exempt_gids = {agent->gid, proxy_user->gid};
  netfilter::ConnectionTracking tracking;
  Memory memory(loop);
  broker::Interception interception(
      loop, **backend,
      {netfilter::observe_guard, netfilter::probe, netfilter::observe_redirected, netfilter::observe_listening,
       [&tracking](const netfilter::Plan& plan) { return tracking.forget_unanswered(plan); },
       netfilter::observe_leftovers, netfilter::check_foreign, netfilter::take_over_routing, netfilter::remove_foreign,
       netfilter::observe_bound_udp, [&memory] { memory.give_back_soon(); }},
      interception_options);
  if (auto adopted = interception.adopt(record ? *record : broker::PlanRecord()); !adopted)
    log::warn(adopted.error().to_string());

  const auto drift_feed = watch_drift(loop, interception);

  broker::Guardian::Options guardian_options;
  guardian_options.wait = std::chrono::milliseconds(arguments.guardian_wait_ms);
  guardian_options.bind = std::chrono::milliseconds(arguments.guardian_live_ms);
  guardian_options.poll = std::min(guardian_options.poll, guardian_options.wait / 10);
  broker::Guardian guardian(loop, guardian_options, guardian_actions(interception, generations));
  broker::Server* serving = nullptr;
  broker::Jobs jobs(interception, generations, guardian, [&serving] { return serving->refused(); });
  broker::Server::Options server_options;
  server_options.agent_uid = agent->uid;
  broker::Server server(loop, std::move(*socket), server_options,
                        [&jobs](const auto& request, auto answer) { jobs.handle(request, std::move(answer)); });
  serving = &server;
  if (auto started = server.start(); !started) return refuse(started.error(), EX_UNAVAILABLE);

  boost::asio::signal_set signals(loop.context(), SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code& error, int number) {
    if (error) return;
    log::info("stopping; proxy generations go on", {{"signal", std::to_string(number)}});
    server.stop();
    notify_stopping();
    interception.stop(fd_store.available() ? broker::Interception::Rules::kKept
                                           : broker::Interception::Rules::kWithdrawn);
    loop.stop();
  });
  log::info("serving", {{"socket", arguments.socket},
                        {"backend", (*backend)->name()},
                        {"because", (*backend)->reason()},
                        {"launcher", by_systemd ? "systemd" : "direct"}});
  guardian.start(interception.policy_in_force());
  notify_status("serving " + arguments.socket);
  notify_ready();
  Watchdog watchdog(loop);
  loop.run();
  return EX_OK;
}

int parse_and_run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("hawser-broker: applies interception and starts the proxy, for hawserd and for root.");
  app.set_version_flag("--version", std::string("hawser-broker ") + HAWSER_VERSION);
  app.add_option("--agent-user", arguments.agent_user, "USER[:GROUP] that hawserd runs as, names or numbers")
      ->capture_default_str();
  app.add_option("--proxy-user", arguments.proxy_user, "USER[:GROUP] that proxies run as")->capture_default_str();
  app.add_option("--launcher", arguments.launcher,
                 "What starts proxies: systemd or direct; auto is systemd where that is the init")
      ->check(CLI::IsMember({"auto", "direct", "systemd"}))
      ->capture_default_str();
  app.add_option("--backend", arguments.backend, "What rules are made with; auto asks the kernel, nftables first")
      ->envname("HAWSER_BACKEND")
      ->capture_default_str();
  app.add_option("--socket", arguments.socket, "Socket to serve")->capture_default_str();
  app.add_option("--state-dir", arguments.state_dir, "Folder with netfilter/ and proxy/")->capture_default_str();
  app.add_option("--proxy-log-dir", arguments.proxy_log_dir,
                 "Folder for the proxies' output; without it, it comes to ours");
  app.add_option("--proxy-allow", arguments.proxy_allow,
                 "Extensions of the proxy that its sandbox is relaxed for: lua, wasm, lua,wasm, or none")
      ->envname("HAWSER_PROXY_ALLOW")
      ->delimiter(',')
      ->check(CLI::IsMember({"none", "lua", "wasm"}));
  app.add_option("--proxy-memory-max", arguments.proxy_memory_max,
                 "What each proxy may have: bytes (300M, 2G), a share of the host's memory (75%), or 0: no limit")
      ->envname("HAWSER_PROXY_MEMORY_MAX")
      ->check([](const std::string& text) {
        return broker::parse_memory_max(text, host_memory()) ? "" : text + " is no amount of memory";
      })
      ->capture_default_str();
  app.add_option("--log-level", arguments.log_level, "How much to log")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.add_option("--log-format", arguments.log_format, "How to log")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  // For tests, which can't wait that long; and for a kernel that won't let go.
  app.add_option("--succession", arguments.succession)->check(CLI::IsMember({"adopt", "replace"}))->group("");
  app.add_option("--guardian-wait", arguments.guardian_wait_ms)->check(CLI::Range(100, 600'000))->group("");
  app.add_option("--guardian-live", arguments.guardian_live_ms)->check(CLI::Range(100, 600'000))->group("");
  app.add_option("--validate-wait", arguments.validate_wait_ms)->check(CLI::Range(100, 600'000))->group("");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EX_OK : EX_USAGE;
  }
  log::init("hawser-broker", level_of(arguments.log_level),
            arguments.log_format == "json" ? log::Format::kJson : log::Format::kText);
  return run(arguments);
}

}  // namespace
}  // namespace hawser

int main(int argc, char** argv) {
  // Our own inner use: see proxy/holder.h.
  if (argc == 3 && std::string_view(argv[1]) == "--hold") return hawser::proxy::hold(argv[2]);
  if (argc == 3 && std::string_view(argv[1]) == "--sweep") return hawser::proxy::sweep(argv[2]);
  // As the proxy's user: see proxy/shared_mark.h.
  if (argc == 3 && std::string_view(argv[1]) == "--clear-mark")
    return hawser::proxy::clear_shared_mark_program(argv[2]);
  // The package's last resort: see broker/withdraw.h.
  if (argc == 2 && std::string_view(argv[1]) == "--withdraw") return hawser::broker::withdraw();
  return hawser::parse_and_run(argc, argv);
}
