// SPDX-License-Identifier: Apache-2.0
#include "proxy/admin_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "admin_stub.h"

namespace hawser::proxy {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

struct AdminClientTest : testing::Test {
  void serve(AdminStub::Answer answer) {
    stub = std::make_unique<AdminStub>(folder.file("f1e0.admin.sock"), std::move(answer));
  }
  void make(milliseconds timeout = milliseconds(5000), std::size_t max_body = 1000) {
    client = std::make_unique<AdminClient>(loop, AdminClient::Options{folder.path, ".admin.sock", timeout, max_body});
  }
  Result<AdminReply> get(const std::string& target) {
    std::optional<Result<AdminReply>> out;
    client->get("f1e0", target, [&](Result<AdminReply> reply) { out = std::move(reply); });
    EXPECT_FALSE(out.has_value()) << "answered from within the call";
    EXPECT_TRUE(run_until(loop, [&] { return out.has_value(); }));
    return *out;
  }

  TempFolder folder;
  AsioLoop loop;
  std::unique_ptr<AdminStub> stub;
  std::unique_ptr<AdminClient> client;
};

TEST_F(AdminClientTest, GetsAndPostsAndGivesTheStatus) {
  serve(
      [](const std::string& line) { return http_answer(line.substr(0, 4) == "POST" ? 400 : 200, "body of " + line); });
  make();
  const auto reply = get("/ready?x=1");
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->status, 200U);
  EXPECT_EQ(reply->body, "body of GET /ready?x=1");
  std::optional<unsigned> status;
  client->post("f1e0", "/drain", [&](const Result<AdminReply>& posted) { status = posted->status; });
  ASSERT_TRUE(run_until(loop, [&] { return status.has_value(); }));
  EXPECT_EQ(*status, 400U);
  EXPECT_THAT(stub->asked(), ElementsAre("GET /ready?x=1", "POST /drain"));
}

TEST_F(AdminClientTest, ReadsAChunkedAnswer) {
  serve([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nLIVE\r\n1\r\n\n\r\n0\r\n\r\n");
  });
  make();
  EXPECT_EQ(get("/ready")->body, "LIVE\n");
}

TEST_F(AdminClientTest, WithoutASocketItSaysThatTheProxyMayNotRun) {
  make();
  const auto reply = get("/ready");
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().id(), "HWS-PX-001");
  EXPECT_EQ(reply.error().code(), Code::kUnavailable);
  EXPECT_THAT(reply.error().message(), testing::HasSubstr("f1e0.admin.sock"));
}

TEST_F(AdminClientTest, GivesUpAtItsDeadline) {
  serve([](const std::string&) { return std::string(); });
  make(milliseconds(100));
  const auto began = std::chrono::steady_clock::now();
  const auto reply = get("/ready");
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().code(), Code::kDeadlineExceeded);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
}

TEST_F(AdminClientTest, RefusesAnAnswerOverTheLimitAndNoHttp) {
  serve([](const std::string& line) {
    return line == "GET /big" ? http_answer(200, std::string(2000, 'x')) : std::string("SSH-2.0-x\r\n\r\n");
  });
  make();
  EXPECT_EQ(get("/big").error().id(), "HWS-PX-002");
  EXPECT_EQ(get("/other").error().id(), "HWS-PX-002");
}

TEST_F(AdminClientTest, AnAnswerThatIsCutOffIsAnError) {
  serve([](const std::string&) { return std::string("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"); });
  make();
  EXPECT_FALSE(get("/ready").has_value());
}

TEST_F(AdminClientTest, APathThatIsTooLongIsAnError) {
  client = std::make_unique<AdminClient>(loop, AdminClient::Options{std::string(200, 'x')});
  EXPECT_EQ(get("/ready").error().code(), Code::kInvalidArgument);
}

TEST_F(AdminClientTest, DropsItsCallsWhenItGoes) {
  serve([](const std::string&) { return http_answer(200, "late"); });
  make();
  bool called = false;
  client->get("f1e0", "/ready", [&](const Result<AdminReply>&) { called = true; });
  client.reset();
  EXPECT_TRUE(run_until(loop, [&] { return !stub->asked().empty(); }));
  loop.context().restart();
  loop.context().run_for(milliseconds(50));
  EXPECT_FALSE(called);
}

TEST(AdminClientEncode, LeavesOnlyUnreservedCharacters) {
  EXPECT_EQ(AdminClient::encode("a.b_c-1~^(x|y)$"), "a.b_c-1~%5E%28x%7Cy%29%24");
}

}  // namespace
}  // namespace hawser::proxy
