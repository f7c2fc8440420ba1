// SPDX-License-Identifier: Apache-2.0
#include "registration/health_probe.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>
#include <filesystem>
#include <fstream>

namespace hawser::registration {
namespace {

using boost::asio::ip::tcp;
using config::Millis;
using testing::HasSubstr;
using Kind = config::HealthProbe::Kind;

// A program on loopback that gives each caller the same answer, or none.
class Program {
 public:
  Program(AsioLoop& loop, const char* address)
      : acceptor_(loop.context(), {boost::asio::ip::make_address(address), 0}) {
    accept();
  }

  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";  // empty: silence
  std::string last_request;
  int requests = 0;

 private:
  void accept() {
    acceptor_.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
      if (error) return;
      serve(std::make_shared<tcp::socket>(std::move(socket)));
      accept();
    });
  }
  void serve(const std::shared_ptr<tcp::socket>& socket) {
    auto buffer = std::make_shared<boost::asio::streambuf>();
    boost::asio::async_read_until(
        *socket, *buffer, "\r\n\r\n", [this, socket, buffer](const boost::system::error_code& error, std::size_t size) {
          if (error) return;
          const auto* begin = static_cast<const char*>(buffer->data().data());
          last_request.assign(begin, size);
          ++requests;
          if (answer.empty()) return open_.push_back(socket);
          boost::asio::async_write(*socket, boost::asio::buffer(answer),
                                   [socket](const boost::system::error_code&, std::size_t) {});
        });
  }

  tcp::acceptor acceptor_;
  std::vector<std::shared_ptr<tcp::socket>> open_;
};

struct ProbeTest : testing::Test {
  ProbeTest() {
    settings.period = Millis(10);
    settings.timeout = Millis(2000);
    settings.failure_threshold = 1;
  }

  // Runs the loop until there are as many results, or 10 s have passed.
  void expect_results(std::size_t count) {
    const auto deadline = loop.after(std::chrono::seconds(10), [this] { loop.stop(); });
    wanted = count;
    if (results.size() < count) loop.run();
    loop.context().restart();
    EXPECT_EQ(results.size(), count);
  }
  void run_for(Millis time) {
    const auto end = loop.after(time, [this] { loop.stop(); });
    loop.run();
    loop.context().restart();
  }
  HealthProbe& start() {
    probe = std::make_unique<HealthProbe>(loop, settings, ProbeSurroundings{},
                                          [this](bool healthy, const std::string& reason) {
                                            results.emplace_back(healthy, reason);
                                            if (on_result) on_result();
                                            if (results.size() >= wanted) loop.stop();
                                          });
    probe->start();
    return *probe;
  }
  void use_command(const std::string& script) {
    settings.kind = Kind::kExec;
    settings.command = {"/bin/sh", "-c", script};
  }

  AsioLoop loop;
  config::HealthProbe settings;
  std::vector<std::pair<bool, std::string>> results;
  std::function<void()> on_result;
  std::size_t wanted = 1;
  std::unique_ptr<HealthProbe> probe;
};

TEST_F(ProbeTest, WithoutAProbeTheProgramIsHealthyAtOnce) {
  start();
  ASSERT_EQ(results.size(), 1U);
  EXPECT_TRUE(results[0].first);
}

TEST_F(ProbeTest, HttpAsksOnLoopbackWithThePathAndHeadersOfTheConfiguration) {
  Program program(loop, "127.0.0.1");
  settings.kind = Kind::kHttp;
  settings.port = program.port();
  settings.http_path = "/health?deep=1";
  settings.http_headers = {{"X-Probe", "yes"}, {"Host", "app.example"}};
  start();
  expect_results(1);
  EXPECT_TRUE(results[0].first);
  EXPECT_THAT(program.last_request, HasSubstr("GET /health?deep=1 HTTP/1.1\r\n"));
  EXPECT_THAT(program.last_request, HasSubstr("X-Probe: yes\r\n"));
  EXPECT_THAT(program.last_request, HasSubstr("Host: app.example\r\n"));
}

TEST_F(ProbeTest, HttpFindsAProgramThatListensInIpv6Alone) {
  Program program(loop, "::1");
  settings.kind = Kind::kHttp;
  settings.port = program.port();
  start();
  expect_results(1);
  EXPECT_TRUE(results[0].first) << results[0].second;
}

TEST_F(ProbeTest, HttpCountsRedirectsAsHealthyAndErrorsNot) {
  Program program(loop, "127.0.0.1");
  settings.kind = Kind::kHttp;
  settings.port = program.port();
  program.answer = "HTTP/1.1 399 X\r\n\r\n";
  start();
  expect_results(1);
  program.answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
  expect_results(2);
  EXPECT_TRUE(results[0].first);
  EXPECT_FALSE(results[1].first);
  EXPECT_THAT(results[1].second, HasSubstr("answered 503"));
}

TEST_F(ProbeTest, HttpGivesUpOnASilentProgramAfterItsTime) {
  Program program(loop, "127.0.0.1");
  program.answer.clear();
  settings.kind = Kind::kHttp;
  settings.port = program.port();
  settings.timeout = Millis(50);
  const auto begin = loop.now();
  start();
  expect_results(1);
  EXPECT_FALSE(results[0].first);
  EXPECT_GE(loop.now() - begin, Millis(50));
  EXPECT_LT(loop.now() - begin, Millis(5000));
}

TEST_F(ProbeTest, HttpRefusesAnAnswerThatIsNoHttpOrHasNoEnd) {
  Program program(loop, "127.0.0.1");
  settings.kind = Kind::kHttp;
  settings.port = program.port();
  program.answer = "SSH-2.0-x\r\n\r\n";
  start();
  expect_results(1);
  EXPECT_FALSE(results[0].first);
  EXPECT_THAT(results[0].second, HasSubstr("no HTTP answer"));
  program.answer = "HTTP/1.1 200 OK\r\nX: " + std::string(1U << 20U, 'x');
  const int before = program.requests;
  run_for(Millis(200));
  EXPECT_GT(program.requests, before);
  EXPECT_EQ(results.size(), 1U);
}

TEST_F(ProbeTest, TcpIsHealthyWhileSomethingListens) {
  auto program = std::make_unique<Program>(loop, "127.0.0.1");
  settings.kind = Kind::kTcp;
  settings.port = program->port();
  start();
  expect_results(1);
  EXPECT_TRUE(results[0].first);
  program.reset();
  expect_results(2);
  EXPECT_FALSE(results[1].first);
  EXPECT_THAT(results[1].second, HasSubstr("can't connect to port"));
  EXPECT_THAT(results[1].second, HasSubstr("refused"));
}

TEST_F(ProbeTest, AHostThatIsNoAddressIsNamed) {
  settings.kind = Kind::kTcp;
  settings.host = "app.example";
  settings.port = 80;
  start();
  expect_results(1);
  EXPECT_THAT(results[0].second, HasSubstr("'app.example' is no IP address"));
}

TEST_F(ProbeTest, ACommandIsHealthyWhenItExitsWithZero) {
  use_command("exit 0");
  start();
  expect_results(1);
  EXPECT_TRUE(results[0].first);
}

TEST_F(ProbeTest, ACommandsExitStatusAndSignalAreNamed) {
  use_command("exit 7");
  start();
  expect_results(1);
  EXPECT_THAT(results[0].second, HasSubstr("/bin/sh exited with 7"));
  use_command("kill -TERM $$");
  results.clear();
  start();
  expect_results(1);
  EXPECT_THAT(results[0].second, HasSubstr("ended by signal 15"));
}

TEST_F(ProbeTest, ACommandThatIsNotThereIsNamed) {
  settings.kind = Kind::kExec;
  settings.command = {"/nonexistent/check"};
  start();
  expect_results(1);
  EXPECT_THAT(results[0].second, HasSubstr("can't run /nonexistent/check: No such file"));
}

struct CommandTest : ProbeTest {
  CommandTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hawser-probe-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) folder = pattern;
  }
  ~CommandTest() override {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  pid_t written_pid(const std::string& name) const {
    std::ifstream file(folder / name);
    pid_t pid = 0;
    file >> pid;
    return pid;
  }
  // Gone, or dead and waiting for an init that this container may lack.
  static bool gone(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string stat;
    if (!std::getline(file, stat)) return true;
    return stat.find(") Z ") != std::string::npos;
  }
  bool goes(pid_t pid) {
    for (int i = 0; i < 500 && !gone(pid); ++i) run_for(Millis(10));
    return gone(pid);
  }

  std::filesystem::path folder;
};

TEST_F(CommandTest, ATimeOutEndsTheWholeGroup) {
  use_command("sleep 600 & echo $! > " + (folder / "child").string() + "; wait");
  settings.timeout = Millis(1000);
  settings.period = std::chrono::hours(1);
  start();
  expect_results(1);
  EXPECT_THAT(results[0].second, HasSubstr("didn't end in time"));
  const pid_t child = written_pid("child");
  ASSERT_GT(child, 0);
  EXPECT_TRUE(goes(child));
}

TEST_F(CommandTest, WhatACommandLeavesBehindInItsGroupIsEndedToo) {
  use_command("sleep 600 & echo $! > " + (folder / "child").string());
  settings.period = std::chrono::hours(1);
  start();
  expect_results(1);
  EXPECT_TRUE(results[0].first) << results[0].second;
  const pid_t child = written_pid("child");
  ASSERT_GT(child, 0);
  EXPECT_TRUE(goes(child));
}

TEST_F(CommandTest, StoppingEndsACommandThatRunsAndReapsIt) {
  use_command("echo $$ > " + (folder / "self").string() + "; exec sleep 600");
  settings.timeout = std::chrono::hours(1);
  start();
  for (int i = 0; i < 500 && written_pid("self") == 0; ++i) run_for(Millis(10));
  const pid_t command = written_pid("self");
  ASSERT_GT(command, 0);
  probe->stop();
  EXPECT_TRUE(goes(command));
  for (int i = 0; i < 500 && ::kill(command, 0) == 0; ++i) run_for(Millis(10));
  EXPECT_NE(::kill(command, 0), 0) << "not reaped";
  EXPECT_TRUE(results.empty());
}

TEST_F(CommandTest, GetsNoDescriptorOfOurs) {
  const int leaked = ::open("/dev/null", O_RDONLY);  // without CLOEXEC
  use_command("test ! -e /proc/self/fd/" + std::to_string(leaked));
  start();
  expect_results(1);
  EXPECT_TRUE(results[0].first) << results[0].second;
  ::close(leaked);
}

TEST_F(CommandTest, ManyRoundsLeaveNeitherProcessesNorDescriptors) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  use_command("echo >> " + (folder / "rounds").string());
  settings.period = Millis(1);
  const auto rounds = [this] {
    std::error_code none;
    const auto size = std::filesystem::file_size(folder / "rounds", none);
    return none ? std::uintmax_t{0} : size;
  };
  run_for(Millis(1));
  const auto before = descriptors();
  start();
  for (int i = 0; i < 1000 && rounds() < 30; ++i) run_for(Millis(10));
  probe->stop();
  for (int i = 0; i < 500 && ::waitpid(-1, nullptr, WNOHANG) != -1; ++i) run_for(Millis(10));
  EXPECT_GE(rounds(), 30U);
  EXPECT_LE(descriptors(), before + 1);
}

TEST_F(ProbeTest, NothingIsToldBeforeTheThresholdAndOneGoodResultStartsTheCountAnew) {
  Program program(loop, "127.0.0.1");
  settings.kind = Kind::kHttp;
  settings.port = program.port();
  settings.success_threshold = 3;
  settings.failure_threshold = 1000000;
  start();
  expect_results(1);
  EXPECT_EQ(program.requests, 3);
  program.answer = "HTTP/1.1 500 X\r\n\r\n";
  run_for(Millis(150));
  EXPECT_EQ(results.size(), 1U);
}

TEST_F(ProbeTest, TheFirstLookWaitsForTheInitialDelay) {
  Program program(loop, "127.0.0.1");
  settings.kind = Kind::kHttp;
  settings.port = program.port();
  settings.initial_delay = std::chrono::hours(1);
  start();
  run_for(Millis(50));
  EXPECT_EQ(program.requests, 0);
  EXPECT_TRUE(results.empty());
}

TEST_F(ProbeTest, AProbeMayBeDestroyedByItsOwnCallback) {
  use_command("exit 0");
  on_result = [this] { probe.reset(); };
  start();
  expect_results(1);
  run_for(Millis(50));
  EXPECT_EQ(results.size(), 1U);
}

TEST_F(ProbeTest, AProbeMayBeStoppedByItsOwnCallback) {
  Program program(loop, "127.0.0.1");
  settings.kind = Kind::kHttp;
  settings.port = program.port();
  on_result = [this] { probe->stop(); };
  start();
  expect_results(1);
  run_for(Millis(100));
  EXPECT_EQ(program.requests, 1);
}

}  // namespace
}  // namespace hawser::registration
