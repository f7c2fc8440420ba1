// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <filesystem>

#include "base/fake_loop.h"
#include "certs/rotation.h"
#include "certs/utc.h"
#include "test_ca.h"

// What: a CA, tokens and a health sink that do as they are told, and the fixture of the tests of rotation.
namespace hawser::certs::test {

using namespace std::chrono_literals;

// Answers at the next turn of the loop, with a certificate unless told otherwise.
class FakeCa final : public CaClient {
 public:
  FakeCa(Loop& loop, TestCa& ca) : loop_(loop), ca_(ca) {}

  Traits traits() const override { return {}; }
  void sign(Request request, Done done) override {
    ++calls;
    last_token = request.token.reveal();
    last_client = request.client;
    shown.push_back(std::string(request.client ? "c" : "") + (request.token.empty() ? "" : "t"));
    last_ttl = request.ttl;
    csrs.push_back(request.csr_pem);
    pending_ = std::move(done);
    if (!mute) loop_.post([this] { answer(); });
  }
  void cancel() override {
    ++cancels;
    pending_ = nullptr;
  }

  void answer() {
    if (!pending_) return;
    auto done = std::exchange(pending_, nullptr);
    if (!errors.empty()) {
      auto error = errors.front();
      if (!for_ever) errors.pop_front();
      return done(error);
    }
    const Validity validity{loop_.wall() - 2min, loop_.wall() + (ttl ? *ttl : last_ttl)};
    done(Answer{ca_.sign_csr(csrs.back(), spiffe, validity) + ca_.intermediate_pem(), ca_.root_pem()});
  }

  int calls = 0;
  int cancels = 0;
  bool mute = false;
  bool for_ever = false;
  std::deque<Error> errors;
  std::optional<std::chrono::seconds> ttl;
  std::string spiffe = kSpiffe;
  std::string last_token;
  std::vector<std::string> shown;  // per call: c(ertificate), t(oken)
  IdentityPtr last_client;
  std::chrono::seconds last_ttl{0};
  std::vector<std::string> csrs;

 private:
  Loop& loop_;
  TestCa& ca_;
  Done pending_;
};

class FakeTokens final : public TokenSource {
 public:
  Traits traits() const override { return {"file", attests_again, 0}; }
  void forget() override {
    ++forgotten;
    text += "+";
  }
  Result<Token> attest(const Challenge&) override {
    if (text.empty()) return Error(Code::kNotFound, "HWS-ID-020", "there is no token");
    Token token;
    token.text = Secret(text);
    token.expires = expires;
    return token;
  }
  std::string text = "jwt";
  bool attests_again = false;
  int forgotten = 0;
  std::optional<Loop::Wall> expires;
};

class Health final : public HealthSink {
 public:
  void report(const std::string& item, HealthState s, const std::string& d, const Error* error) override {
    if (item == "clock") {
      clock = s;
      clock_detail = d;
      return;
    }
    EXPECT_EQ(item, "identity");
    EXPECT_EQ(error != nullptr, s == HealthState::kDegraded || s == HealthState::kFailed);
    state = s;
    detail = d;
    id = error != nullptr ? error->id() : "";
    hint = error != nullptr ? error->hint() : "";
  }
  HealthState state = HealthState::kStarting;
  std::string detail, id, hint;
  std::optional<HealthState> clock;
  std::string clock_detail;
};

inline Error passing() {
  return {Code::kUnavailable, "HWS-CA-003", "can't reach the CA", "check"};
}
inline Error lasting() {
  return {Code::kFailedPrecondition, "HWS-CA-001", "wrong CA root", "take the right one"};
}
inline Error refused() {
  return {Code::kUnauthenticated, "HWS-CA-004", "not accepted", "join again"};
}

class RotationFixture : public ::testing::Test {
 protected:
  RotationFixture() {
    options.seed = 7;
    options.policy.spread = 0;
    options.policy.jitter = 0.01;
    make();
  }

  void make() {
    rotation.reset();
    store.reset();
    auto opened = KeyStore::open(state.path(), here);
    ASSERT_TRUE(opened) << opened.error().to_string();
    store = *opened;
    options.request.expected.spiffe_id = kSpiffe;
    rotation = std::make_unique<Rotation>(loop, worker, *store, fake_ca, tokens, options, health, metrics);
    rotation->on_change([this](const IdentityPtr& identity) {
      seen.push_back(identity);
      if (!tell_only_from_disk) return;
      // Whoever is told can rely on the disk.
      const auto on_disk = store->load().identity;
      ASSERT_NE(on_disk, nullptr);
      EXPECT_EQ(on_disk->serial, identity->serial);
    });
  }
  void start() {
    rotation->start([this] { ++ready; });
    loop.run_ready();
  }

  FakeLoop loop;
  InlineWorker worker;
  Metrics metrics;
  TestCa ca{"mesh"};
  TempFolder state;
  std::shared_ptr<FakeTokens> tokens = std::make_shared<FakeTokens>();
  FakeCa fake_ca{loop, ca};
  Rotation::Options options;
  Machine here;
  Health health;
  std::optional<KeyStore> store;
  std::unique_ptr<Rotation> rotation;
  std::vector<IdentityPtr> seen;
  int ready = 0;
  bool tell_only_from_disk = true;
};

}  // namespace hawser::certs::test
