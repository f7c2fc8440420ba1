// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "broker/failure.h"
#include "broker/server.h"
#include "hawser/broker.pb.h"
#include "loop_runner.h"
#include "temporary_folder.h"

namespace hawser::broker {
namespace {

using namespace std::chrono_literals;

class ClientTest : public testing::Test {
 protected:
  std::string path() const { return folder_ / "broker.sock"; }

  std::unique_ptr<Server> serve(const Server::Handler& handler) {
    Server::Options options;
    options.agent_uid = ::geteuid();
    auto server = std::make_unique<Server>(loop_, listen_unix("broker", path(), 0660).value(), options, handler);
    EXPECT_TRUE(server->start());
    return server;
  }

  Result<v1::Response> call(std::chrono::milliseconds timeout = 5s) {
    BrokerClient client(loop_, path());
    std::optional<Result<v1::Response>> out;
    run_until_called(loop_, [&](const std::function<void()>& done) {
      v1::Request request;
      request.mutable_confirm()->set_digest("abc");
      client.call(request, timeout, [&out, done](Result<v1::Response> response) {
        out = std::move(response);
        done();
      });
    });
    return out ? *out : Result<v1::Response>(Error(Code::kUnknown, "none", "no answer"));
  }

  TemporaryFolder folder_;
  AsioLoop loop_;
};

TEST_F(ClientTest, TheAnswerComesBack) {
  auto server = serve([](const v1::Request& request, const Server::Answer& answer) {
    v1::Response response;
    response.mutable_plan()->set_digest(request.confirm().digest() + "!");
    answer(response);
  });
  auto response = call();
  ASSERT_TRUE(response) << response.error().to_string();
  EXPECT_EQ(response->plan().digest(), "abc!");
}

TEST_F(ClientTest, AnEmptyAnswerIsASuccess) {
  auto server = serve([](const v1::Request&, const Server::Answer& answer) { answer({}); });
  EXPECT_TRUE(call());
}

TEST_F(ClientTest, AFailureBecomesTheError) {
  auto server = serve([](const v1::Request&, const Server::Answer& answer) {
    v1::Response response;
    to_proto(Error(Code::kAborted, "HWS-NF-013", "no", "do this"), *response.mutable_failure());
    answer(response);
  });
  auto response = call();
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().id(), "HWS-NF-013");
  EXPECT_EQ(response.error().hint(), "do this");
}

TEST_F(ClientTest, AnAbsentBrokerIsNamedWithAHint) {
  auto response = call();
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().id(), "HWS-BR-001");
  EXPECT_TRUE(response.error().retryable());
  EXPECT_FALSE(response.error().hint().empty());
}

TEST_F(ClientTest, ABrokerThatHangsTimesOut) {
  auto server = serve([](const v1::Request&, const Server::Answer&) {});
  EXPECT_EQ(call(50ms).error().id(), "HWS-BR-002");
}

TEST_F(ClientTest, ABrokerThatClosesIsNoticed) {
  std::unique_ptr<Server> server;
  server = serve([&](const v1::Request&, const Server::Answer&) { loop_.post([&] { server->stop(); }); });
  EXPECT_EQ(call().error().id(), "HWS-BR-003");
}

TEST_F(ClientTest, ACallOfADestroyedClientIsDropped) {
  auto server = serve([](const v1::Request&, const Server::Answer& answer) { answer({}); });
  bool answered = false;
  auto client = std::make_unique<BrokerClient>(loop_, path());
  std::unique_ptr<Loop::Timer> later;
  run_until_called(loop_, [&](const std::function<void()>& done) {
    client->call(v1::Request(), 5s, [&answered](const Result<v1::Response>&) { answered = true; });
    client.reset();
    later = loop_.after(50ms, done);
  });
  EXPECT_FALSE(answered);
}

}  // namespace
}  // namespace hawser::broker
