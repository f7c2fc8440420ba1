// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_spiffe.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

#include "base/asio_loop.h"
#include "certs/der.h"
#include "certs/openssl_ptr.h"
#include "certs/x509.h"
#include "spiffe/workload/workload.grpc.pb.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using test::around;
using test::kSpiffe;
using test::TestCa;
using ::testing::HasSubstr;

std::string der_of(const std::string& pem) {
  std::string out;
  const auto all = split_bundle(pem);
  for (const auto& one : *all) {
    auto in = reader_of(one);
    const X509Ptr certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
    unsigned char* bytes = nullptr;
    const int size = i2d_X509(certificate.get(), &bytes);
    out.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
    OPENSSL_free(bytes);
  }
  return out;
}

std::string key_der_of(const std::string& pem) {
  auto in = reader_of(pem);
  const KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  BioPtr out(BIO_new(BIO_s_mem()));
  i2d_PKCS8PrivateKey_bio(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return content_of(out.get());
}

void add(X509SVIDResponse& response, const std::string& id, const Identity& identity) {
  auto* svid = response.add_svids();
  svid->set_spiffe_id(id);
  svid->set_x509_svid(der_of(identity.chain_pem));
  svid->set_x509_svid_key(key_der_of(std::string(identity.key_pem.reveal())));
  svid->set_bundle(der_of(identity.roots_pem));
}

// A SPIFFE agent: each stream is told the present state, and each later one.
class Agent final : public SpiffeWorkloadAPI::Service {
 public:
  explicit Agent(const std::string& path) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix://" + path, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Agent() override {
    refuse_with({grpc::StatusCode::UNAVAILABLE, "going away"});
    server_->Shutdown(std::chrono::system_clock::now() + 1s);
  }

  void say(const X509SVIDResponse& response) {
    change([&] { state_ = response; });
  }
  void refuse_with(const grpc::Status& status) {
    change([&] { refusal_ = status; });
  }
  bool saw_header() const { return saw_header_; }

  grpc::Status FetchX509SVID(grpc::ServerContext* context, const X509SVIDRequest*,
                             grpc::ServerWriter<X509SVIDResponse>* writer) override {
    std::unique_lock lock(mutex_);
    const auto& metadata = context->client_metadata();
    const auto header = metadata.find("workload.spiffe.io");
    saw_header_ = header != metadata.end() && header->second == "true";
    for (unsigned sent = 0; refusal_.ok();) {
      if (sent != version_) {
        sent = version_;
        writer->Write(state_);
      }
      changed_.wait_for(lock, 10ms);
      if (context->IsCancelled()) return grpc::Status::CANCELLED;
    }
    return refusal_;
  }

 private:
  void change(const std::function<void()>& how) {
    const std::lock_guard lock(mutex_);
    how();
    ++version_;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  X509SVIDResponse state_;
  grpc::Status refusal_;
  unsigned version_ = 0;
  bool saw_header_ = false;
  std::unique_ptr<grpc::Server> server_;
};

class SpiffeCaTest : public ::testing::Test {
 protected:
  SpiffeCaTest() {
    options.socket_path = folder.at("agent.sock");
    options.expected.spiffe_id = kSpiffe;
    options.timeout = 15s;
    options.retry_base = options.retry_cap = 20ms;
  }

  SpiffeCa& under_test() {
    if (!client) {
      client = std::make_unique<SpiffeCa>(loop, metrics, options);
      client->on_news([this] {
        ++news;
        loop.stop();
      });
    }
    return *client;
  }

  void run() {
    const auto limit = loop.after(20s, [this] {
      ADD_FAILURE() << "not within 20 s";
      loop.stop();
    });
    loop.run();
    loop.context().restart();
  }

  Result<CaClient::Answer> sign() {
    std::optional<Result<CaClient::Answer>> out;
    under_test().sign({}, [&](Result<CaClient::Answer> answer) {
      out = std::move(answer);
      loop.stop();
    });
    run();
    if (!out) return Error(Code::kInternal, "", "no answer");
    return std::move(*out);
  }

  IdentityPtr make(const std::string& id = kSpiffe, std::chrono::seconds ttl = 24h) {
    return ca.identity(id, around(std::chrono::system_clock::now(), ttl));
  }
  X509SVIDResponse with(const IdentityPtr& identity) {
    X509SVIDResponse out;
    add(out, identity->spiffe_id, *identity);
    return out;
  }

  AsioLoop loop;
  Metrics metrics;
  test::TempFolder folder;
  TestCa ca{"spire"};
  SpiffeCa::Options options;
  std::unique_ptr<SpiffeCa> client;
  unsigned news = 0;
};

TEST_F(SpiffeCaTest, TakesKeyChainAndRootsFromTheAgent) {
  Agent agent(options.socket_path);
  const auto identity = make();
  agent.say(with(identity));
  auto answer = sign();
  ASSERT_TRUE(answer) << answer.error().to_string();
  EXPECT_EQ(answer->chain_pem, identity->chain_pem);
  EXPECT_EQ(answer->roots_pem, identity->roots_pem);
  EXPECT_TRUE(match_key(answer->key.reveal(), answer->chain_pem));
  EXPECT_TRUE(agent.saw_header());
  EXPECT_TRUE(under_test().traits().makes_key);
}

TEST_F(SpiffeCaTest, TellsWhatIsNewAndAnswersWithIt) {
  Agent agent(options.socket_path);
  agent.say(with(make()));
  ASSERT_TRUE(sign());
  const auto renewed = make();
  agent.say(with(renewed));
  run();
  EXPECT_EQ(news, 1U);
  auto answer = sign();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->chain_pem, renewed->chain_pem);
  // The same once more is none: the next news is the one after it.
  agent.say(with(renewed));
  const auto third = make();
  agent.say(with(third));
  run();
  EXPECT_EQ(news, 2U);
  EXPECT_EQ(sign()->chain_pem, third->chain_pem);
}

TEST_F(SpiffeCaTest, AskedAgainWhileTheStreamIsUpTheSameIsTheAnswer) {
  Agent agent(options.socket_path);
  const auto identity = make();
  agent.say(with(identity));
  ASSERT_TRUE(sign());
  EXPECT_EQ(sign()->chain_pem, identity->chain_pem);
}

TEST_F(SpiffeCaTest, OfSeveralTheOneWithOurIdIsTaken) {
  Agent agent(options.socket_path);
  const auto other = make("spiffe://cluster.local/ns/vms/sa/other");
  const auto aliased = make("spiffe://old.example/ns/vms/sa/web");
  const auto ours = make();
  options.expected.domain_aliases = {"old.example"};
  X509SVIDResponse response;
  for (const auto& identity : {other, aliased, ours}) add(response, identity->spiffe_id, *identity);
  response.mutable_svids(0)->set_hint("internal");
  agent.say(response);
  EXPECT_EQ(sign()->chain_pem, ours->chain_pem);
  X509SVIDResponse fewer;
  for (const auto& identity : {other, aliased}) add(fewer, identity->spiffe_id, *identity);
  agent.say(fewer);
  run();
  EXPECT_EQ(sign()->chain_pem, aliased->chain_pem);
}

TEST_F(SpiffeCaTest, NoneOfOursNamesWhatIsOffered) {
  Agent agent(options.socket_path);
  agent.say(with(make("spiffe://cluster.local/ns/vms/sa/other")));
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-032");
  EXPECT_THAT(answer.error().message(), HasSubstr("spiffe://cluster.local/ns/vms/sa/other"));
  // It is told as soon as there is one.
  agent.say(with(make()));
  run();
  EXPECT_EQ(news, 1U);
  EXPECT_TRUE(sign());
}

TEST_F(SpiffeCaTest, NoSocketSaysSoAndTheAgentIsFoundWhenItStarts) {
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-030");
  EXPECT_THAT(answer.error().message(), HasSubstr(options.socket_path));
  EXPECT_TRUE(answer.error().retryable());
  Agent agent(options.socket_path);
  agent.say(with(make()));
  run();
  EXPECT_EQ(news, 1U);
}

TEST_F(SpiffeCaTest, NoRegistrationEntrySaysHowToMakeOne) {
  Agent agent(options.socket_path);
  agent.refuse_with({grpc::StatusCode::PERMISSION_DENIED, "no identity issued"});
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-031");
  EXPECT_THAT(answer.error().hint(), HasSubstr("unix:uid:" + std::to_string(::geteuid())));
}

TEST_F(SpiffeCaTest, AnAgentThatSaysNothingIsNotWaitedForWithoutEnd) {
  options.timeout = 50ms;
  Agent agent(options.socket_path);
  const auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-035");
}

TEST_F(SpiffeCaTest, WhileTheAgentIsAwayWhoAsksForANewerOneIsToldWhy) {
  auto agent = std::make_unique<Agent>(options.socket_path);
  const auto identity = make();
  agent->say(with(identity));
  ASSERT_TRUE(sign());
  agent.reset();
  auto answer = sign();
  while (answer) answer = sign();  // the stream's end may not have been noticed yet
  EXPECT_THAT(answer.error().id(), ::testing::AnyOf("HWS-CA-030", "HWS-CA-034"));
  agent = std::make_unique<Agent>(options.socket_path);
  const auto renewed = make();
  agent->say(with(renewed));
  run();
  EXPECT_EQ(news, 1U);
  EXPECT_EQ(sign()->chain_pem, renewed->chain_pem);
}

TEST_F(SpiffeCaTest, WhatCannotBeUsedIsNamedAndTheOldOneStays) {
  Agent agent(options.socket_path);
  auto broken = with(make());
  broken.mutable_svids(0)->set_x509_svid("not DER");
  agent.say(broken);
  auto answer = sign();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().id(), "HWS-CA-033");
  auto mixed = with(make());
  mixed.mutable_svids(0)->set_x509_svid_key(with(make()).svids(0).x509_svid_key());
  agent.say(mixed);
  auto ended =
      with(ca.identity(kSpiffe, {std::chrono::system_clock::now() - 2h, std::chrono::system_clock::now() - 1h}));
  agent.say(ended);
  const auto good = make();
  agent.say(with(good));
  run();
  EXPECT_EQ(sign()->chain_pem, good->chain_pem);
}

TEST_F(SpiffeCaTest, NothingIsCalledAfterCancelOrDestruction) {
  Agent agent(options.socket_path);
  agent.say(with(make()));
  under_test().sign({}, [](const Result<CaClient::Answer>&) { ADD_FAILURE(); });
  under_test().cancel();
  loop.context().run_for(100ms);
  loop.context().restart();
  ASSERT_TRUE(sign());
  under_test().sign({}, [](const Result<CaClient::Answer>&) { ADD_FAILURE(); });
  client.reset();
  loop.context().run_for(100ms);
  EXPECT_EQ(news, 0U);
}

TEST(Der, KeysAndCertificatesComeThroughAndRubbishDoesNot) {
  TestCa ca("der");
  const auto identity = ca.identity(kSpiffe, around(std::chrono::system_clock::now()));
  EXPECT_EQ(*certificates_from_der(der_of(identity->chain_pem)), identity->chain_pem);
  EXPECT_EQ(key_from_der(key_der_of(std::string(identity->key_pem.reveal())))->reveal(), identity->key_pem.reveal());
  const std::string whole = der_of(identity->chain_pem);
  for (const std::string& bad : {std::string(), std::string("x"), whole.substr(0, whole.size() - 1), whole + "x"})
    EXPECT_EQ(certificates_from_der(bad).error().id(), "HWS-ID-006");
  for (const std::string& bad : {std::string(), std::string("x"), whole})
    EXPECT_EQ(key_from_der(bad).error().id(), "HWS-ID-007");
  EXPECT_FALSE(certificates_from_der(std::string((1 << 20) + 1, 'x')));
}

}  // namespace
}  // namespace hawser::certs
