// SPDX-License-Identifier: Apache-2.0
// The driver, the admin client and the supervisor against the Envoy that HAWSER_ENVOY names; skipped without it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <optional>

#include "admin_stub.h"
#include "proxy/envoy_driver.h"
#include "proxy/supervisor.h"
#include "status/health_items.h"

extern char** environ;

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// Starts Envoy as a child of the test, with what the broker does for it otherwise.
class ChildHost final : public GenerationHost {
 public:
  ChildHost(AsioLoop& loop, std::string binary, TempFolder& folder)
      : loop_(loop), binary_(std::move(binary)), folder_(folder) {}
  ~ChildHost() override {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  void observe(Done<std::vector<HostedGeneration>> done) override {
    std::vector<HostedGeneration> out;
    if (pid_ != 0) out.push_back({"f1e0", pid_, running(), status_, "test", {}});
    answer(std::move(done), Result<std::vector<HostedGeneration>>(out));
  }
  void validate(const std::string&, const std::string& bootstrap, const std::vector<std::string>&, const std::string&,
                Done<Validation> done) override {
    const pid_t pid = spawn(bootstrap, {"--mode", "validate"});
    int status = 0;
    ::waitpid(pid, &status, 0);
    answer(std::move(done), Result<Validation>(Validation{status == 0, "see its output", "", ""}));
  }
  void start(const std::string&, const std::string& bootstrap, const std::vector<std::string>& args, const std::string&,
             Done<StartedGeneration> done) override {
    ended_ = false;
    pid_ = spawn(bootstrap, args);
    answer(std::move(done), Result<StartedGeneration>(StartedGeneration{pid_, "test"}));
  }
  void signal(const std::string&, int number, std::function<void(Status)> done) override {
    ::kill(pid_, number);
    loop_.post([done] { done(Status()); });
  }
  void reap(const std::string&, milliseconds wait, Done<ReapedGeneration> done) override {
    if (!running()) {
      pid_ = 0;
      return answer(std::move(done), Result<ReapedGeneration>(ReapedGeneration{true, status_}));
    }
    if (wait <= milliseconds(0)) return answer(std::move(done), Result<ReapedGeneration>(ReapedGeneration{false, -1}));
    timer_ = loop_.after(milliseconds(5), [this, wait, done] { reap("f1e0", wait - milliseconds(5), done); });
  }
  void repair(const std::string&, std::function<void(Status)> done) override {
    loop_.post([done] { done(Error(Code::kUnimplemented, "HWS-BR-005", "not here")); });
  }
  void binaries(Done<HostedBinaries> done) override {
    answer(std::move(done), Result<HostedBinaries>(HostedBinaries{"test", ""}));
  }
  void mark(const std::string&, BinaryMark, const std::string&, std::function<void(Status)> done) override {
    loop_.post([done] { done(Status()); });
  }

 private:
  template <typename T>
  void answer(Done<T> done, Result<T> result) {
    loop_.post([done = std::move(done), result = std::move(result)] { done(result); });
  }
  bool running() {
    if (!ended_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
    return !ended_;
  }
  pid_t spawn(const std::string& bootstrap, const std::vector<std::string>& args) {
    const auto file = folder_.file("boot.json");
    std::ofstream(file) << bootstrap;
    std::vector<std::string> words{binary_, "-c", file, "--disable-hot-restart"};
    words.insert(words.end(), args.begin(), args.end());
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const int fd : {1, 2}) posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    EXPECT_EQ(::posix_spawn(&pid, binary_.c_str(), &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
  }

  AsioLoop& loop_;
  std::string binary_;
  TempFolder& folder_;
  pid_t pid_ = 0;
  bool ended_ = false;
  int status_ = -1;
  std::unique_ptr<Loop::Timer> timer_;
};

std::uint16_t free_port() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size);
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

UniqueFd connect_to(std::uint16_t port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

struct RealEnvoyTest : testing::Test {
  void SetUp() override {
    const char* binary = std::getenv("HAWSER_ENVOY");
    if (binary == nullptr || *binary == '\0') GTEST_SKIP() << "HAWSER_ENVOY isn't set";
    folder.file("f1e0.admin.sock");
    host = std::make_unique<ChildHost>(loop, binary, folder);
    Supervisor::Options options;
    options.required_ports = {port};
    options.bootstrap = [this](const std::string& generation) { return bootstrap(generation); };
    supervisor = std::make_unique<Supervisor>(loop, *host, driver, watcher, options, health, metrics);
  }
  void TearDown() override {
    supervisor.reset();
    host.reset();
  }

  std::string bootstrap(const std::string& generation) const {
    std::string text = R"({"node": {"id": "n", "cluster": "c"},
      "admin": {"address": {"pipe": {"path": "FOLDER/GENERATION.admin.sock", "mode": 432}}},
      "static_resources": {"listeners": [{"name": "echo",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": PORT}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.echo", "typed_config":
          {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}}]}]}]}})";
    for (const auto& [key, value] : std::map<std::string, std::string>{
             {"FOLDER", folder.path}, {"GENERATION", generation}, {"PORT", broken ? "\"x\"" : std::to_string(port)}})
      text.replace(text.find(key), key.size(), value);
    return text;
  }
  void start_live() {
    supervisor->start([this](const std::string&, pid_t pid) { live_pids.push_back(pid); },
                      [this](const std::string&) { ++downs; });
    ASSERT_TRUE(run_until(loop, [this] { return !live_pids.empty(); }));
  }
  milliseconds stop(seconds drain) {
    const auto began = std::chrono::steady_clock::now();
    std::optional<Status> done;
    supervisor->stop(drain, [&](const Status& result) { done = result; });
    EXPECT_TRUE(run_until(loop, [&] { return done.has_value(); }));
    EXPECT_TRUE(done && done->has_value());
    return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - began);
  }

  static EnvoyDriver::Options driver_options() {
    EnvoyDriver::Options options;
    options.concurrency = 1;
    options.drain = seconds(1);
    options.parent_shutdown = seconds(0);
    return options;
  }

  std::uint16_t port = free_port();
  bool broken = false;
  TempFolder folder;
  AsioLoop loop;
  Metrics metrics;
  status::HealthItems health{loop, metrics};
  AdminClient admin{loop, {folder.path}};
  EnvoyDriver driver{admin, driver_options()};
  PidfdWatcher watcher{loop};
  std::unique_ptr<ChildHost> host;
  std::unique_ptr<Supervisor> supervisor;
  std::vector<pid_t> live_pids;
  int downs = 0;
};

TEST_F(RealEnvoyTest, StartsServesScrapesAndStopsQuicklyWhenIdle) {
  start_live();
  const auto status = supervisor->status();
  EXPECT_EQ(status.state, "LIVE");
  EXPECT_EQ(status.proxy_state, "LIVE");
  EXPECT_EQ(status.concurrency, 1U);
  EXPECT_THAT(status.version, HasSubstr("1."));
  ASSERT_EQ(status.listeners.size(), 1U);
  EXPECT_TRUE(status.listeners[0].bound);
  EXPECT_TRUE(connect_to(port));

  std::string text;
  supervisor->scrape(
      [&](const Result<std::string>& answer) { text = answer ? *answer : "error " + answer.error().to_string(); });
  ASSERT_TRUE(run_until(loop, [&] { return !text.empty(); }));
  EXPECT_THAT(text, HasSubstr("\nenvoy_server_live{} 1\n"));
  bool listed = false;
  driver.certificates("f1e0",
                      [&](const auto& certificates) { listed = certificates.has_value() && certificates->empty(); });
  ASSERT_TRUE(run_until(loop, [&] { return listed; }));

  EXPECT_LT(stop(seconds(10)), seconds(3)) << "nobody is waited for";
  EXPECT_FALSE(connect_to(port));
}

TEST_F(RealEnvoyTest, IsBackAfterItWasKilled) {
  start_live();
  ::kill(live_pids[0], SIGKILL);
  ASSERT_TRUE(run_until(loop, [this] { return downs == 1; }));
  ASSERT_TRUE(run_until(loop, [this] { return live_pids.size() == 2; }));
  EXPECT_NE(live_pids[0], live_pids[1]);
  EXPECT_NE(metrics.text().find("hawser_proxy_exits_total{status=\"SIGKILL\"} 1"), std::string::npos);
  stop(seconds(0));
}

TEST_F(RealEnvoyTest, ANewSupervisorAdoptsItUntouched) {
  start_live();
  const pid_t pid = live_pids[0];
  supervisor.reset();
  live_pids.clear();
  Supervisor::Options options;
  options.required_ports = {port};
  supervisor = std::make_unique<Supervisor>(loop, *host, driver, watcher, options, health, metrics);
  start_live();
  EXPECT_EQ(live_pids[0], pid);
  EXPECT_TRUE(supervisor->status().adopted);
  stop(seconds(0));
}

TEST_F(RealEnvoyTest, WaitsForAConnectionAsLongAsItMay) {
  start_live();
  const auto client = connect_to(port);
  ASSERT_TRUE(client);
  std::optional<std::uint64_t> active;
  const auto count = [&] {
    driver.count_connections("f1e0", [&](const auto& result) { active = result ? *result : 99; });
    return run_until(loop, [&] { return active.has_value(); });
  };
  // The worker accepts in its own time.
  for (int i = 0; i < 100 && active.value_or(0) != 1; ++i) {
    active.reset();
    ASSERT_TRUE(count());
  }
  EXPECT_EQ(active, 1U);
  EXPECT_GE(stop(seconds(1)), milliseconds(900));
}

TEST_F(RealEnvoyTest, ADrainedOneListsItsListenersButTheyAreNotBound) {
  start_live();
  std::optional<unsigned> status;
  admin.post("f1e0", "/drain_listeners", [&](const Result<AdminReply>& reply) { status = reply ? reply->status : 0; });
  ASSERT_TRUE(run_until(loop, [&] { return status.has_value(); }));
  ASSERT_EQ(*status, 200U);
  // Lost after three looks, replaced after two more seconds.
  ASSERT_TRUE(run_until(loop, [this] { return live_pids.size() == 2; }));
  EXPECT_EQ(downs, 1);
  EXPECT_NE(live_pids[0], live_pids[1]);
  stop(seconds(0));
}

TEST_F(RealEnvoyTest, ABootstrapThatItRefusesIsNotStarted) {
  broken = true;
  supervisor->start({}, {});
  ASSERT_TRUE(
      run_until(loop, [this] { return !health.items().empty() && health.items()[0].state == HealthState::kFailed; }));
  EXPECT_EQ(health.items()[0].error->id(), "HWS-PX-003");
  stop(seconds(0));
}

}  // namespace
}  // namespace hawser::proxy
