// SPDX-License-Identifier: Apache-2.0
#include "proxy/envoy_driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>

#include "admin_stub.h"

namespace hawser::proxy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr auto kLiveInfo =
    R"({"version": "x/1.40.0/Clean/RELEASE/BoringSSL", "state": "LIVE", "command_line_options": {"concurrency": 2}})";
constexpr auto kListeners = R"({"listener_statuses": [
  {"name": "out", "local_address": {"socket_address": {"address": "0.0.0.0", "port_value": 15001}}},
  {"name": "in", "local_address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}}}]})";

struct EnvoyDriverTest : testing::Test {
  EnvoyDriverTest() {
    stub = std::make_unique<AdminStub>(folder.file("f1e0.admin.sock"), [this](const std::string& line) {
      std::lock_guard lock(mutex);
      const auto found = answers.find(line.substr(0, line.find('?')));
      return found == answers.end() ? http_answer(404, "") : http_answer(found->second.first, found->second.second);
    });
    options.listening = [this] { return listening; };
    driver = std::make_unique<EnvoyDriver>(admin, options);
  }
  void set(const std::string& request, int status, const std::string& body) {
    std::lock_guard lock(mutex);
    answers[request] = {status, body};
  }
  template <typename T>
  T wait(const std::function<void(std::function<void(T)>)>& call) {
    std::optional<T> out;
    call([&](T value) { out = std::move(value); });
    EXPECT_TRUE(run_until(loop, [&] { return out.has_value(); }));
    return *out;
  }
  Result<ProbeResult> probe() {
    return wait<Result<ProbeResult>>([this](auto done) { driver->probe("f1e0", done); });
  }

  std::mutex mutex;  // the stub has a thread of its own
  std::map<std::string, std::pair<int, std::string>> answers{
      {"GET /server_info", {200, kLiveInfo}}, {"GET /ready", {200, "LIVE\n"}}, {"GET /listeners", {200, kListeners}}};
  TempFolder folder;
  AsioLoop loop;
  std::unique_ptr<AdminStub> stub;
  AdminClient admin{loop, {folder.path}};
  EnvoyDriver::Options options;
  Result<std::vector<ListeningEndpoint>> listening =
      std::vector<ListeningEndpoint>{{"0.0.0.0", 15001}, {"0.0.0.0", 15006}};
  std::unique_ptr<EnvoyDriver> driver;
};

TEST_F(EnvoyDriverTest, AProbeOfALiveProxyLooksAtItsListenersToo) {
  const auto seen = probe();
  ASSERT_TRUE(seen.has_value());
  EXPECT_TRUE(seen->ready);
  ASSERT_EQ(seen->listeners.size(), 2U);
  EXPECT_TRUE(seen->listeners[0].bound && seen->listeners[1].bound);
  EXPECT_THAT(stub->asked(), ElementsAre("GET /server_info", "GET /ready", "GET /listeners?format=json"));
}

TEST_F(EnvoyDriverTest, WatchingALiveProxyDoesNotReadItsWholeDescriptionAgain) {
  const auto first = probe();
  const auto watch = [this] { return wait<Result<ProbeResult>>([this](auto done) { driver->watch("f1e0", done); }); };
  const auto again = watch();
  EXPECT_EQ(again->state, ProxyState::kLive);
  EXPECT_EQ(again->version, first->version);
  EXPECT_EQ(again->listeners.size(), 2U);
  EXPECT_TRUE(again->ready && again->listeners[0].bound);
  auto asked = stub->asked();
  asked.erase(asked.begin(), asked.begin() + 3);
  EXPECT_THAT(asked, ElementsAre("GET /ready", "GET /listeners?format=json"));

  std::string body = kLiveInfo;
  set("GET /server_info", 200, body.replace(body.find("LIVE"), 4, "DRAINING"));
  set("GET /ready", 503, "DRAINING\n");
  EXPECT_EQ(watch()->state, ProxyState::kDraining) << "not ready: the description tells why";
}

TEST_F(EnvoyDriverTest, AnotherGenerationIsNotWatchedByWhatTheFirstOneSaid) {
  (void)probe();
  (void)wait<Result<ProbeResult>>([this](auto done) { driver->watch("f1e1", done); });
  EXPECT_EQ(stub->asked().size(), 3U) << "f1e1 has another socket, which nobody serves";
}

TEST_F(EnvoyDriverTest, AListenerThatTheKernelDoesNotKnowIsNotBound) {
  listening = std::vector<ListeningEndpoint>{{"127.0.0.1", 15001}, {"0.0.0.0", 15006}};
  const auto seen = probe();
  EXPECT_FALSE(seen->listeners[0].bound);
  EXPECT_TRUE(seen->listeners[1].bound);
}

TEST_F(EnvoyDriverTest, WithoutTheKernelsAnswerEnvoysWordStands) {
  listening = Error(Code::kPermissionDenied, "HWS-PX-008", "no");
  EXPECT_TRUE(probe()->listeners[0].bound);
}

TEST_F(EnvoyDriverTest, AProxyThatIsNotLiveIsAskedNoMore) {
  std::string body = kLiveInfo;
  set("GET /server_info", 200, body.replace(body.find("LIVE"), 4, "INITIALIZING"));
  EXPECT_EQ(probe()->state, ProxyState::kInitializing);
  EXPECT_EQ(stub->asked().size(), 1U);
}

TEST_F(EnvoyDriverTest, ReadyIsItsStatusAndNotItsText) {
  set("GET /ready", 503, "LIVE\n");
  EXPECT_FALSE(probe()->ready);
}

TEST_F(EnvoyDriverTest, AnUnexpectedStatusIsAnError) {
  set("GET /server_info", 500, kLiveInfo);
  EXPECT_EQ(probe().error().id(), "HWS-PX-002");
}

TEST_F(EnvoyDriverTest, ADiagnosisNamesStreamTypesTargetsAndRefusedListeners) {
  set("GET /stats", 200,
      "control_plane.connected_state: 0\ncluster_manager.cds.update_success: 1\nlistener_manager.lds.update_rejected: "
      "2\n");
  set("GET /init_dump", 200, R"({"unready_targets_dumps": [{"name": "x", "target_names": ["SdsApi default"]}]})");
  set("GET /config_dump", 200,
      R"({"configs": [{"name": "out", "error_state": {"details": "Address already in use"}}]})");
  const auto text = wait<std::string>([this](auto done) { driver->diagnose("f1e0", done); });
  EXPECT_EQ(text,
            "it has no stream to the xDS relay, it refused listeners (LDS), it waits for SdsApi default, listener out: "
            "Address already in use");
}

TEST_F(EnvoyDriverTest, ADrainIsPosted) {
  set("POST /drain_listeners", 200, "OK\n");
  EXPECT_TRUE(wait<Status>([this](auto done) { driver->begin_drain("f1e0", DrainKind::kClosing, done); }).has_value());
  EXPECT_THAT(stub->asked(), ElementsAre("POST /drain_listeners?graceful"));
  set("POST /drain_listeners", 503, "");
  EXPECT_FALSE(wait<Status>([this](auto done) { driver->begin_drain("f1e0", DrainKind::kClosing, done); }).has_value());
}

TEST_F(EnvoyDriverTest, ADrainMayLeaveTheListenersOpen) {
  set("POST /drain_listeners", 200, "OK\n");
  EXPECT_TRUE(
      wait<Status>([this](auto done) { driver->begin_drain("f1e0", DrainKind::kStillAccepting, done); }).has_value());
  EXPECT_THAT(stub->asked(), ElementsAre("POST /drain_listeners?graceful&skip_exit"));
}

TEST_F(EnvoyDriverTest, AnInspectionGathersWhatAHandOverAsks) {
  set("GET /config_dump", 200, R"({"configs": [{"name": "in", "active_state": {"listener": {"name": "in",
    "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}}, "enable_reuse_port": false}}}]})");
  set("GET /hot_restart_version", 200, "11.104\n");
  set("GET /certs", 200, R"({"certificates": [{"cert_chain": [{"serial_number": "0AFF",
    "expiration_time": "2001-01-01T00:00:00Z"}]}]})");
  set("GET /stats", 200, "listener_manager.workers_started: 1\n");
  const auto seen = wait<Result<Inspection>>([this](auto done) { driver->inspect("f1e0", done); });
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->unshared, "in has enable_reuse_port: false");
  EXPECT_EQ(seen->hot_restart_version, "11.104");
  EXPECT_EQ(seen->certificates, 1U);
  EXPECT_EQ(seen->expired, "0aff");
  EXPECT_TRUE(seen->workers);
}

TEST_F(EnvoyDriverTest, AnInspectionThatIsNotWholeIsNone) {
  set("GET /config_dump", 200, "{}");
  EXPECT_FALSE(wait<Result<Inspection>>([this](auto done) { driver->inspect("f1e0", done); }).has_value());
}

TEST_F(EnvoyDriverTest, ADrainOfInboundLeavesOwnProgramsAlone) {
  set("POST /drain_listeners", 200, "OK\n");
  EXPECT_TRUE(wait<Status>([this](auto done) { driver->drain_inbound("f1e0", done); }).has_value());
  EXPECT_THAT(stub->asked(), ElementsAre("POST /drain_listeners?inboundonly&graceful"));
  set("POST /drain_listeners", 503, "");
  EXPECT_FALSE(wait<Status>([this](auto done) { driver->drain_inbound("f1e0", done); }).has_value());
}

TEST_F(EnvoyDriverTest, CountsUsersConnections) {
  set("GET /stats", 200,
      "listener.0.0.0.0_15006.downstream_cx_active: 2\nlistener.0.0.0.0_15021.downstream_cx_active: 9\n");
  EXPECT_EQ(*wait<Result<std::uint64_t>>([this](auto done) { driver->count_connections("f1e0", done); }), 2U);
}

TEST_F(EnvoyDriverTest, ItsArgumentsNameNoFile) {
  options.json_log = false;
  options.concurrency = 3;
  options.drain = std::chrono::seconds(7);
  options.parent_shutdown = std::chrono::seconds(9);
  EXPECT_THAT(EnvoyDriver(admin, options).args(0),
              ElementsAre("--log-level", "warning", "--drain-strategy", "immediate", "--drain-time-s", "7",
                          "--parent-shutdown-time-s", "9", "--concurrency", "3"));
}

TEST_F(EnvoyDriverTest, LogsAsConfigured) {
  options.log_level = "info";
  const auto args = EnvoyDriver(admin, options).args(0);
  EXPECT_THAT(args, testing::Contains("info"));
  const auto format = std::find(args.begin(), args.end(), "--log-format");
  ASSERT_NE(format, args.end());
  EXPECT_THAT(*(format + 1), HasSubstr(R"("message":"%j")"));
}

TEST_F(EnvoyDriverTest, AsksAWorkerOfOneGenerationAlone) {
  const auto ask = [this] { return wait<Status>([this](auto done) { driver->ask_worker("f1e0", done); }); };
  EXPECT_FALSE(driver->capabilities().worker_request);
  EXPECT_EQ(ask().error().id(), "HWS-PX-041");
  AdminClient workers(loop, {folder.path, ".worker.sock"});
  options.workers = &workers;
  driver = std::make_unique<EnvoyDriver>(admin, options);
  EXPECT_TRUE(driver->capabilities().worker_request);
  EXPECT_EQ(ask().error().code(), Code::kUnavailable) << "nobody listens there";
  std::string name = "f2e0";
  AdminStub worker(folder.file("f1e0.worker.sock"), [&](const std::string&) {
    std::lock_guard lock(mutex);
    return http_answer(200, name);
  });
  EXPECT_THAT(ask().error().message(), HasSubstr("f2e0")) << "another one answers";
  {
    std::lock_guard lock(mutex);
    name = "f1e0";
  }
  EXPECT_TRUE(ask());
}

TEST_F(EnvoyDriverTest, TellsWhenItFlushed) {
  set("GET /stats", 200, "server.uptime: 17\n");
  EXPECT_EQ(*wait<Result<std::uint64_t>>([this](auto done) { driver->flush_mark("f1e0", done); }), 17U);
  set("GET /stats", 200, "");
  EXPECT_FALSE(wait<Result<std::uint64_t>>([this](auto done) { driver->flush_mark("f1e0", done); }));
}

TEST_F(EnvoyDriverTest, ASuccessorHasItsPredecessorsWorkersAndLetsItDrain) {
  options.json_log = false;
  options.concurrency = 0;
  options.drain = std::chrono::seconds(7);
  options.parent_shutdown = std::chrono::seconds(3);  // would cut what still drains
  EXPECT_THAT(EnvoyDriver(admin, options).args(4),
              ElementsAre("--log-level", "warning", "--drain-strategy", "immediate", "--drain-time-s", "7",
                          "--parent-shutdown-time-s", "8", "--concurrency", "4"));
}

TEST_F(EnvoyDriverTest, ANotAnsweringProxyGivesItsOwnWordsToTheDiagnosis) {
  stub.reset();
  EXPECT_THAT(wait<std::string>([this](auto done) { driver->diagnose("f1e0", done); }), StartsWith("can't talk to"));
  EXPECT_THAT(probe().error().message(), HasSubstr("can't talk to"));
}

}  // namespace
}  // namespace hawser::proxy
