// SPDX-License-Identifier: Apache-2.0
#include "sds/server.h"

#include <gmock/gmock.h>
#include <google/protobuf/any.pb.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "base/asio_loop.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "envoy/service/secret/v3/sds.grpc.pb.h"
#include "test_ca.h"

namespace hawser::sds {
namespace {

using namespace std::chrono_literals;
using certs::IdentityPtr;
using certs::test::kSpiffe;
using envoy::extensions::transport_sockets::tls::v3::Secret;
using envoy::service::discovery::v3::DiscoveryRequest;
using envoy::service::discovery::v3::DiscoveryResponse;
using envoy::service::secret::v3::SecretDiscoveryService;

constexpr char kType[] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

Secret secret_in(const DiscoveryResponse& response, int index = 0) {
  google::protobuf::Any any;
  EXPECT_TRUE(any.ParseFromString(response.resources(index)));
  EXPECT_EQ(any.type_url(), kType);
  Secret secret;
  EXPECT_TRUE(secret.ParseFromString(any.value()));
  return secret;
}

// A stream as Envoy opens it: one secret, the node on the first request only.
class Client {
 public:
  Client(SecretDiscoveryService::Stub& stub, std::chrono::seconds limit = 20s) {
    context_.set_deadline(std::chrono::system_clock::now() + limit);
    stream_ = stub.StreamSecrets(&context_);
  }
  ~Client() {
    context_.TryCancel();
    (void)end();
  }

  bool ask(const std::vector<std::string>& names, const std::string& nonce = "", const std::string& refusal = "") {
    DiscoveryRequest request;
    request.set_type_url(kType);
    if (first_) request.mutable_node()->set_id("sidecar~10.0.0.1~vm~vms");
    first_ = false;
    for (const auto& name : names) request.add_resource_names(name);
    request.set_response_nonce(nonce);
    if (!refusal.empty()) request.mutable_error_detail()->set_message(refusal);
    return stream_->Write(request);
  }
  bool send(const DiscoveryRequest& request) { return stream_->Write(request); }
  DiscoveryResponse next() {
    DiscoveryResponse response;
    EXPECT_TRUE(stream_->Read(&response));
    return response;
  }
  bool read(DiscoveryResponse& response) { return stream_->Read(&response); }
  void half_close() { stream_->WritesDone(); }
  grpc::Status end() {
    if (!ended_) ended_ = stream_->Finish();
    return *ended_;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<DiscoveryRequest, DiscoveryResponse>> stream_;
  std::optional<grpc::Status> ended_;
  bool first_ = true;
};

class SdsServerTest : public ::testing::Test {
 protected:
  SdsServerTest() {
    on_loop([this] {
      sds = std::make_unique<SdsServer>(loop, metrics);
      sds->on_presented(
          [this](const SdsServer::Presented& presented) { presented_serials.push_back(presented.serial); });
    });
    const std::string address = "unix:" + folder.at("sds.sock");
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(sds->service());
    server = builder.BuildAndStart();
    stub = SecretDiscoveryService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }
  ~SdsServerTest() override {
    on_loop([this] {
      sds->shutdown();
      server->Shutdown(std::chrono::system_clock::now() + 1s);  // on the loop, as hawserd does it
      server.reset();
      sds.reset();
    });
    loop.post([this] { loop.stop(); });
    thread.join();
  }

  void on_loop(const std::function<void()>& work) {
    std::promise<void> done;
    loop.post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  void publish(const IdentityPtr& identity) {
    on_loop([&] { sds->publish(identity); });
  }
  IdentityPtr make(certs::test::TestCa& from) {
    return from.identity(kSpiffe, certs::test::around(std::chrono::system_clock::now()));
  }
  std::string presented() {
    std::string out;
    on_loop([&] { out = sds->presented().serial; });
    return out;
  }
  // What the loop has taken in is only seen from outside, so it is asked until it says so.
  bool eventually(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + 10s;
    while (std::chrono::steady_clock::now() < end) {
      bool held = false;
      on_loop([&] { held = holds(); });
      if (held) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }
  bool metric(const std::string& line) {
    return eventually([&] { return metrics.text().find(line) != std::string::npos; });
  }

  AsioLoop loop;
  std::thread thread{[this] { loop.run(); }};
  Metrics metrics;
  certs::test::TempFolder folder;
  certs::test::TestCa ca{"mesh"}, next_ca{"next"};
  std::vector<std::string> presented_serials;
  std::unique_ptr<SdsServer> sds;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<SecretDiscoveryService::Stub> stub;
};

TEST_F(SdsServerTest, GivesTheCertificateWithItsKeyAndTheRoots) {
  const auto identity = make(ca);
  publish(identity);
  Client leaf(*stub), roots(*stub);
  leaf.ask({"default"});
  const auto certificate = leaf.next();
  EXPECT_EQ(certificate.type_url(), kType);
  EXPECT_FALSE(certificate.nonce().empty());
  EXPECT_FALSE(certificate.version_info().empty());
  ASSERT_EQ(certificate.resources_size(), 1);
  EXPECT_EQ(secret_in(certificate).name(), "default");
  EXPECT_EQ(secret_in(certificate).tls_certificate().certificate_chain().inline_bytes(), identity->chain_pem);
  EXPECT_EQ(secret_in(certificate).tls_certificate().private_key().inline_bytes(), identity->key_pem.reveal());
  roots.ask({"ROOTCA"});
  const auto trusted = roots.next();
  EXPECT_EQ(secret_in(trusted).name(), "ROOTCA");
  EXPECT_EQ(secret_in(trusted).validation_context().trusted_ca().inline_bytes(), identity->roots_pem);
}

TEST_F(SdsServerTest, LetsRequestsWaitForTheFirstIdentity) {
  Client leaf(*stub);
  leaf.ask({"default"});
  ASSERT_TRUE(metric("hawser_sds_streams 1"));
  const auto identity = make(ca);
  publish(identity);
  EXPECT_EQ(secret_in(leaf.next()).tls_certificate().certificate_chain().inline_bytes(), identity->chain_pem);
}

TEST_F(SdsServerTest, RootsThatAreGivenTakeThePlaceOfTheIdentitysAndArePushedByThemselves) {
  const auto identity = make(ca);
  on_loop([&] { sds->publish(identity, {"both"}); });
  Client leaf(*stub), roots(*stub);
  leaf.ask({"default"});
  roots.ask({"ROOTCA"});
  (void)leaf.next();
  const auto first = secret_in(roots.next()).validation_context();
  EXPECT_EQ(first.trusted_ca().inline_bytes(), "both");
  EXPECT_FALSE(first.has_crl());
  on_loop([&] {
    sds->publish(identity, {"both"});  // the same again
    sds->publish(identity, {"both", "lists", true});
  });
  const auto second = secret_in(roots.next()).validation_context();
  EXPECT_EQ(second.crl().inline_bytes(), "lists");
  EXPECT_TRUE(second.only_verify_leaf_cert_crl());
  const auto other = make(next_ca);  // another root of its own: no matter
  on_loop([&] { sds->publish(other, {"both", "lists", true}); });
  (void)leaf.next();
  EXPECT_TRUE(metric("hawser_sds_pushes_total{resource=\"ROOTCA\"} 2"));
  EXPECT_TRUE(metric("hawser_sds_pushes_total{resource=\"default\"} 2"));
}

TEST_F(SdsServerTest, PushesOnlyWhatChanged) {
  publish(make(ca));
  Client leaf(*stub), roots(*stub);
  leaf.ask({"default"});
  roots.ask({"ROOTCA"});
  const auto one = leaf.next();
  (void)roots.next();
  const auto renewed = make(ca);  // same roots
  publish(renewed);
  const auto two = leaf.next();
  EXPECT_NE(one.version_info(), two.version_info());
  EXPECT_NE(one.nonce(), two.nonce());
  EXPECT_EQ(secret_in(two).tls_certificate().certificate_chain().inline_bytes(), renewed->chain_pem);
  publish(renewed);  // the same again
  const auto moved = make(next_ca);
  publish(moved);
  EXPECT_EQ(secret_in(roots.next()).validation_context().trusted_ca().inline_bytes(), moved->roots_pem);
  EXPECT_EQ(secret_in(leaf.next()).tls_certificate().certificate_chain().inline_bytes(), moved->chain_pem);
  EXPECT_TRUE(metric("hawser_sds_pushes_total{resource=\"ROOTCA\"} 2"));
  EXPECT_TRUE(metric("hawser_sds_pushes_total{resource=\"default\"} 3"));
}

TEST_F(SdsServerTest, KnowsWhatTheProxyAccepted) {
  const auto first = make(ca);
  publish(first);
  Client leaf(*stub);
  leaf.ask({"default"});
  const auto one = leaf.next();
  EXPECT_EQ(presented(), "");
  leaf.ask({"default"}, one.nonce());
  ASSERT_TRUE(eventually([&] { return sds->presented().serial == first->serial; }));
  EXPECT_EQ(sds->presented().version, one.version_info());

  const auto second = make(ca);
  publish(second);
  const auto two = leaf.next();
  leaf.ask({"default"}, two.nonce(), "bad certificate");
  ASSERT_TRUE(metric("hawser_sds_answers_total{answer=\"nack\"} 1"));
  EXPECT_EQ(presented(), first->serial);

  const auto third = make(ca);
  publish(third);
  leaf.ask({"default"}, leaf.next().nonce());
  ASSERT_TRUE(eventually([&] { return sds->presented().serial == third->serial; }));
  on_loop([&] { EXPECT_EQ(presented_serials, (std::vector<std::string>{first->serial, third->serial})); });
}

TEST_F(SdsServerTest, DoesNotAnswerAnAckOrRepeatWhatWasRefused) {
  publish(make(ca));
  Client leaf(*stub);
  leaf.ask({"default"});
  const auto one = leaf.next();
  leaf.ask({"default"}, one.nonce());
  leaf.ask({"default"}, one.nonce(), "no");
  ASSERT_TRUE(metric("hawser_sds_answers_total{answer=\"nack\"} 1"));
  EXPECT_TRUE(metric("hawser_sds_pushes_total{resource=\"default\"} 1"));
  const auto renewed = make(ca);
  publish(renewed);
  EXPECT_EQ(secret_in(leaf.next()).tls_certificate().certificate_chain().inline_bytes(), renewed->chain_pem);
}

TEST_F(SdsServerTest, IgnoresAStaleNonce) {
  publish(make(ca));
  Client leaf(*stub);
  leaf.ask({"default"});
  const auto one = leaf.next();
  const auto renewed = make(ca);
  publish(renewed);
  const auto two = leaf.next();
  leaf.ask({}, one.nonce());  // would unsubscribe, were it not of the past
  leaf.ask({"default"}, two.nonce());
  ASSERT_TRUE(eventually([&] { return sds->presented().serial == renewed->serial; }));
  publish(make(ca));
  (void)leaf.next();
  EXPECT_TRUE(metric("hawser_sds_answers_total{answer=\"ack\"} 1"));
}

TEST_F(SdsServerTest, NoNamesMeansUnsubscribed) {
  publish(make(ca));
  Client leaf(*stub);
  leaf.ask({"default"});
  const auto one = leaf.next();
  leaf.ask({}, one.nonce());
  ASSERT_TRUE(metric("hawser_sds_answers_total{answer=\"ack\"} 1"));
  publish(make(ca));
  EXPECT_TRUE(metric("hawser_sds_pushes_total{resource=\"default\"} 1"));
  leaf.ask({"default"}, one.nonce());
  (void)leaf.next();  // and subscribed again
}

TEST_F(SdsServerTest, AnUnknownNameStaysPendingAndHarmsNoOther) {
  publish(make(ca));
  Client strange(*stub), leaf(*stub);
  strange.ask({"kubernetes://somewhere"});
  leaf.ask({"default"});
  (void)leaf.next();
  strange.ask({"kubernetes://somewhere", "default"});
  const auto known = strange.next();
  ASSERT_EQ(known.resources_size(), 1);
  EXPECT_EQ(secret_in(known).name(), "default");
}

TEST_F(SdsServerTest, GivesBothOnOneStreamRootsFirst) {
  publish(make(ca));
  Client both(*stub);
  both.ask({"default", "ROOTCA"});
  const auto response = both.next();
  ASSERT_EQ(response.resources_size(), 2);
  EXPECT_EQ(secret_in(response, 0).name(), "ROOTCA");
  EXPECT_EQ(secret_in(response, 1).name(), "default");
}

TEST_F(SdsServerTest, RefusesOtherTypesAndTooManyNames) {
  Client other(*stub);
  DiscoveryRequest request;
  request.set_type_url("type.googleapis.com/envoy.config.cluster.v3.Cluster");
  other.send(request);
  DiscoveryResponse response;
  EXPECT_FALSE(other.read(response));
  EXPECT_EQ(other.end().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  Client greedy(*stub);
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back("n" + std::to_string(i));
  greedy.ask(names);
  EXPECT_FALSE(greedy.read(response));
  EXPECT_EQ(greedy.end().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(SdsServerTest, SendsASlowReaderTheLatestOnly) {
  const auto first = make(ca);
  publish(first);
  Client leaf(*stub);
  leaf.ask({"default"});
  (void)leaf.next();
  IdentityPtr last;
  on_loop([&] {
    // In one turn of the loop no write can end: what waits is replaced.
    for (int i = 0; i < 20; ++i) sds->publish(last = make(ca));
  });
  auto response = leaf.next();
  int pushes = 1;
  while (secret_in(response).tls_certificate().certificate_chain().inline_bytes() != last->chain_pem) {
    response = leaf.next();
    ++pushes;
  }
  EXPECT_LE(pushes, 2);
}

TEST_F(SdsServerTest, EndsStreamsInOrderWhenThePeerClosesOrVanishes) {
  publish(make(ca));
  Client polite(*stub);
  polite.ask({"default"});
  (void)polite.next();
  polite.half_close();
  EXPECT_TRUE(polite.end().ok());
  {
    Client vanishing(*stub);
    vanishing.ask({"default"});
    (void)vanishing.next();
  }
  EXPECT_TRUE(metric("hawser_sds_streams 0"));
  publish(make(ca));
}

TEST_F(SdsServerTest, ShutdownEndsStreamsAndRefusesNewOnes) {
  Client open(*stub);
  open.ask({"default"});
  ASSERT_TRUE(metric("hawser_sds_streams 1"));
  on_loop([&] { sds->shutdown(); });
  DiscoveryResponse response;
  EXPECT_FALSE(open.read(response));
  EXPECT_EQ(open.end().error_code(), grpc::StatusCode::UNAVAILABLE);
  Client late(*stub);
  EXPECT_EQ(late.end().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(SdsServerTest, SurvivesManyStreamsThatComeAndGoWhileSecretsChange) {
  std::vector<IdentityPtr> identities;
  for (int i = 0; i < 4; ++i) identities.push_back(make(i % 2 == 0 ? ca : next_ca));
  publish(identities[0]);
  std::vector<std::thread> clients;
  for (int t = 0; t < 4; ++t)
    clients.emplace_back([this, t] {
      for (int i = 0; i < 40; ++i) {
        Client client(*stub);
        client.ask({(t + i) % 2 == 0 ? "default" : "ROOTCA"});
        DiscoveryResponse response;
        if (i % 3 != 0) {
          EXPECT_TRUE(client.read(response));
        }
        if (i % 3 == 2) client.ask({"default"}, response.nonce());
      }
    });
  for (std::size_t i = 0; i < 200; ++i) publish(identities[i % identities.size()]);
  for (auto& client : clients) client.join();
  EXPECT_TRUE(metric("hawser_sds_streams 0"));
}

}  // namespace
}  // namespace hawser::sds
