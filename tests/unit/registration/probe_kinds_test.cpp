// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <grpcpp/ext/health_check_service_server_builder_option.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include "certs/csr.h"
#include "registration/health_probe.h"
#include "test_ca.h"

namespace hawser::registration {
namespace {

namespace ssl = boost::asio::ssl;
using boost::asio::ip::tcp;
using certs::test::TestCa;
using config::Millis;
using testing::HasSubstr;
using Kind = config::HealthProbe::Kind;
using Failure = boost::system::error_code;

constexpr char kOwn[] = "spiffe://cluster.local/ns/demo/sa/vm-app";

// A TLS server on loopback: a program, or what stands where the host's proxy would.
class TlsProgram {
 public:
  TlsProgram(AsioLoop& loop, const std::string& key, const std::string& chain, const std::string& client_roots = "")
      : context_(ssl::context::tls_server), acceptor_(loop.context(), {boost::asio::ip::make_address("127.0.0.1"), 0}) {
    context_.use_private_key(boost::asio::buffer(key), ssl::context::pem);
    context_.use_certificate_chain(boost::asio::buffer(chain));
    if (!client_roots.empty()) {
      context_.add_certificate_authority(boost::asio::buffer(client_roots));
      context_.set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
    }
    accept();
  }

  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  bool hangs_up = false;
  int requests = 0;
  std::string last_request;
  std::string last_name;

 private:
  struct Session {
    Session(tcp::socket socket, ssl::context& context) : stream(std::move(socket), context) {}
    ssl::stream<tcp::socket> stream;
    boost::asio::streambuf buffer;
  };

  void accept() {
    acceptor_.async_accept([this](const Failure& error, tcp::socket socket) {
      if (error) return;
      auto session = std::make_shared<Session>(std::move(socket), context_);
      session->stream.async_handshake(ssl::stream_base::server, [this, session](const Failure& failed) {
        if (failed || hangs_up) return;
        const char* name = SSL_get_servername(session->stream.native_handle(), TLSEXT_NAMETYPE_host_name);
        last_name = name == nullptr ? "" : name;
        serve(session);
      });
      accept();
    });
  }
  void serve(const std::shared_ptr<Session>& session) {
    boost::asio::async_read_until(session->stream, session->buffer, "\r\n\r\n",
                                  [this, session](const Failure& error, std::size_t size) {
                                    if (error) return;
                                    ++requests;
                                    last_request.assign(static_cast<const char*>(session->buffer.data().data()), size);
                                    boost::asio::async_write(session->stream, boost::asio::buffer(kAnswer),
                                                             [session](const Failure&, std::size_t) {});
                                  });
  }

  static constexpr char kAnswer[] = "HTTP/1.1 204 No Content\r\n\r\n";
  ssl::context context_;
  tcp::acceptor acceptor_;
};

struct ProbeKinds : testing::Test {
  ProbeKinds() {
    settings.period = Millis(10);
    settings.timeout = Millis(5000);
    settings.failure_threshold = 1;
    around.own_address = "127.0.0.1";
    around.identity = [this]() -> ProbeIdentity {
      return {std::string(own->key_pem.reveal()), own->chain_pem, own->roots_pem, own->spiffe_id};
    };
  }
  // The next change of the state, "well" or the reason.
  std::string next() {
    const auto deadline = loop.after(std::chrono::seconds(20), [this] { loop.stop(); });
    if (results.empty()) loop.run();
    loop.context().restart();
    if (results.empty()) return "nothing";
    std::string first = results.front();
    results.erase(results.begin());
    return first;
  }
  void start() {
    probe = std::make_unique<HealthProbe>(loop, settings, around, [this](bool healthy, const std::string& reason) {
      results.push_back(healthy ? "well" : reason);
      loop.stop();
    });
    probe->start();
  }
  void run_for(Millis time) {
    const auto end = loop.after(time, [this] { loop.stop(); });
    loop.run();
    loop.context().restart();
  }

  AsioLoop loop;
  TestCa mesh{"mesh"};
  certs::IdentityPtr own = mesh.identity(kOwn, certs::test::around(loop.wall()));
  config::HealthProbe settings;
  ProbeSurroundings around;
  std::vector<std::string> results;
  std::unique_ptr<HealthProbe> probe;
};

// The proxy's part: asks for the caller's certificate, tells its own, and passes bytes on to the program.
class Forwarder {
 public:
  Forwarder(AsioLoop& loop, const certs::IdentityPtr& own, const std::string& client_roots, std::uint16_t program)
      : context_(ssl::context::tls_server),
        acceptor_(loop.context(), {boost::asio::ip::make_address("127.0.0.1"), 0}),
        program_(program) {
    context_.use_private_key(boost::asio::buffer(own->key_pem.reveal()), ssl::context::pem);
    context_.use_certificate_chain(boost::asio::buffer(own->chain_pem));
    context_.add_certificate_authority(boost::asio::buffer(client_roots));
    context_.set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert);
    SSL_CTX_set_alpn_select_cb(context_.native_handle(), &Forwarder::choose, this);
    accept();
  }
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  std::string protocol;  // the caller's first choice

 private:
  struct Session {
    Session(tcp::socket socket, ssl::context& context)
        : outer(std::move(socket), context), inner(outer.get_executor()) {}
    ssl::stream<tcp::socket> outer;
    tcp::socket inner;
    std::array<char, 4096> up{};
    std::array<char, 4096> down{};
    void close() {
      Failure ignored;
      outer.lowest_layer().close(ignored);
      inner.close(ignored);
    }
  };
  using SessionPtr = std::shared_ptr<Session>;

  static int choose(SSL*, const unsigned char** out, unsigned char* length, const unsigned char* offered, unsigned,
                    void* self) {
    *length = offered[0];
    *out = offered + 1;
    static_cast<Forwarder*>(self)->protocol.assign(reinterpret_cast<const char*>(*out), *length);
    return SSL_TLSEXT_ERR_OK;
  }
  void accept() {
    acceptor_.async_accept([this](const Failure& error, tcp::socket socket) {
      if (error) return;
      auto session = std::make_shared<Session>(std::move(socket), context_);
      session->outer.async_handshake(ssl::stream_base::server, [this, session](const Failure& failed) {
        if (!failed) connect(session);
      });
      accept();
    });
  }
  void connect(const SessionPtr& session) {
    session->inner.async_connect({boost::asio::ip::make_address("127.0.0.1"), program_},
                                 [session](const Failure& failed) {
                                   if (failed) return session->close();
                                   pass_on(session, session->outer, session->inner, session->up);
                                   pass_on(session, session->inner, session->outer, session->down);
                                 });
  }
  template <typename From, typename To>
  static void pass_on(const SessionPtr& session, From& from, To& to, std::array<char, 4096>& bytes) {
    from.async_read_some(boost::asio::buffer(bytes), [=, &from, &to, &bytes](const Failure& failed, std::size_t size) {
      if (failed) return session->close();
      boost::asio::async_write(to, boost::asio::buffer(bytes, size),
                               [=, &from, &to, &bytes](const Failure& error, std::size_t) {
                                 if (error) return session->close();
                                 pass_on(session, from, to, bytes);
                               });
    });
  }

  ssl::context context_;
  tcp::acceptor acceptor_;
  std::uint16_t program_;
};

struct HttpsProbe : ProbeKinds {
  HttpsProbe() {
    settings.kind = Kind::kHttp;
    settings.tls = true;
  }
  std::string key = std::string(certs::make_key(certs::KeyKind::kEcP256)->reveal());
  std::string chain =
      mesh.server_certificate(key, "app.example", certs::test::around(loop.wall())) + mesh.intermediate_pem();
};

TEST_F(HttpsProbe, AnyCertificateWillDoUnlessACaIsGiven) {
  TlsProgram program(loop, key, chain);
  settings.port = program.port();
  settings.server_name = "other.example";
  start();
  EXPECT_EQ(next(), "well");
  EXPECT_EQ(program.last_name, "other.example");
  EXPECT_THAT(program.last_request, HasSubstr("Host: other.example:"));
}

TEST_F(HttpsProbe, WithACaTheChainAndTheNameAreLookedAt) {
  TlsProgram program(loop, key, chain);
  settings.port = program.port();
  settings.ca_pem = mesh.root_pem();
  settings.server_name = "app.example";
  start();
  EXPECT_EQ(next(), "well");
  settings.server_name = "other.example";
  start();
  EXPECT_THAT(next(), HasSubstr("no TLS with port"));
  settings.ca_pem = TestCa("stranger").root_pem();
  settings.server_name = "app.example";
  start();
  EXPECT_THAT(next(), HasSubstr("no TLS with port"));
}

TEST_F(HttpsProbe, ThroughTheProxyTheProgramsOwnTlsIsInsideTheMeshs) {
  TlsProgram program(loop, key, chain);
  Forwarder proxy(loop, own, mesh.root_pem(), program.port());
  settings.port = proxy.port();
  settings.ca_pem = mesh.root_pem();
  settings.server_name = "app.example";
  settings.through_proxy = true;
  start();
  probe->open_proxy(true);
  EXPECT_EQ(next(), "well");
  EXPECT_EQ(proxy.protocol, "istio") << "what is TLS itself is TCP to the proxy";
  EXPECT_EQ(program.last_name, "app.example");
  settings.server_name = "other.example";
  start();
  probe->open_proxy(true);
  EXPECT_THAT(next(), HasSubstr("no TLS with the program"));
}

struct ThroughProxy : ProbeKinds {
  ThroughProxy() {
    settings.kind = Kind::kHttp;
    settings.through_proxy = true;
  }
};

TEST_F(ThroughProxy, AsksAsACallerOfTheMeshWouldAndOnlyWhenTheProxyServes) {
  TlsProgram proxy(loop, std::string(own->key_pem.reveal()), own->chain_pem, mesh.root_pem());
  settings.port = proxy.port();
  start();
  run_for(Millis(200));
  EXPECT_EQ(proxy.requests, 0);
  EXPECT_TRUE(results.empty());
  probe->open_proxy(true);
  EXPECT_EQ(next(), "well");
  probe->open_proxy(false);
  run_for(Millis(50));
  const int asked = proxy.requests;
  run_for(Millis(200));
  EXPECT_EQ(proxy.requests, asked);
}

TEST_F(ThroughProxy, WhoeverElseAnswersIsNotTheProxy) {
  const auto other = mesh.identity("spiffe://cluster.local/ns/demo/sa/other", certs::test::around(loop.wall()));
  TlsProgram proxy(loop, std::string(other->key_pem.reveal()), other->chain_pem, mesh.root_pem());
  settings.port = proxy.port();
  start();
  probe->open_proxy(true);
  EXPECT_THAT(next(), HasSubstr("isn't this host's proxy"));
}

TEST_F(ThroughProxy, OverTcpAConnectionThatTheProxyEndsAtOnceIsTheProgramsRefusal) {
  TlsProgram proxy(loop, std::string(own->key_pem.reveal()), own->chain_pem, mesh.root_pem());
  settings.kind = Kind::kTcp;
  settings.port = proxy.port();
  proxy.hangs_up = true;
  start();
  probe->open_proxy(true);
  // on a machine that is busy the hanging up may come later than a try waits for it
  std::string first = next();
  if (first == "well") first = next();
  EXPECT_THAT(first, HasSubstr("can't connect to the program"));
  proxy.hangs_up = false;
  results.clear();
  EXPECT_EQ(next(), "well");
}

TEST_F(ThroughProxy, WithoutAnIdentityThereIsAReason) {
  around.identity = [] { return ProbeIdentity{}; };
  settings.port = 1;
  start();
  probe->open_proxy(true);
  EXPECT_THAT(next(), HasSubstr("no certificate"));
}

// gRPC's own server and its own health service.
struct GrpcProbe : ProbeKinds {
  void serve(const std::string& address) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    int chosen = 0;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &chosen);
    builder.RegisterCallbackGenericService(&other_calls);  // a server needs a service besides its health
    server = builder.BuildAndStart();
    settings.kind = Kind::kGrpc;
    settings.port = static_cast<std::uint16_t>(chosen);
  }
  ~GrpcProbe() override {
    probe.reset();
    if (server) server->Shutdown(std::chrono::system_clock::now());
  }
  grpc::CallbackGenericService other_calls;
  std::unique_ptr<grpc::Server> server;
};

TEST_F(GrpcProbe, FollowsTheServersWord) {
  serve("127.0.0.1:0");
  ASSERT_NE(server, nullptr);
  auto* health = server->GetHealthCheckService();
  ASSERT_NE(health, nullptr);
  settings.grpc_service = "shop.Cart";
  health->SetServingStatus("shop.Cart", true);
  start();
  EXPECT_EQ(next(), "well");
  health->SetServingStatus("shop.Cart", false);
  EXPECT_THAT(next(), HasSubstr("'shop.Cart' is not serving"));
  health->SetServingStatus("shop.Cart", true);
  EXPECT_EQ(next(), "well");
  server->Shutdown(std::chrono::system_clock::now());
  EXPECT_THAT(next(), HasSubstr("gRPC health check failed"));
}

TEST_F(GrpcProbe, ThroughTheProxyTheCallGoesByMtls) {
  serve("127.0.0.1:0");
  Forwarder proxy(loop, own, mesh.root_pem(), settings.port);
  settings.port = proxy.port();
  settings.through_proxy = true;
  start();
  probe->open_proxy(true);
  EXPECT_EQ(next(), "well");
  EXPECT_EQ(proxy.protocol, "istio-h2");
  server->GetHealthCheckService()->SetServingStatus(false);
  EXPECT_THAT(next(), HasSubstr("is not serving"));
  server->GetHealthCheckService()->SetServingStatus(true);
  EXPECT_EQ(next(), "well");
  server->Shutdown(std::chrono::system_clock::now());
  EXPECT_THAT(next(), HasSubstr("gRPC health check failed"));
}

TEST_F(GrpcProbe, ThroughTheProxyWhoeverElseAnswersIsNotTheProxy) {
  serve("127.0.0.1:0");
  const auto other = mesh.identity("spiffe://cluster.local/ns/demo/sa/other", certs::test::around(loop.wall()));
  Forwarder stranger(loop, other, mesh.root_pem(), settings.port);
  settings.port = stranger.port();
  settings.through_proxy = true;
  start();
  probe->open_proxy(true);
  EXPECT_THAT(next(), HasSubstr("isn't this host's proxy"));
}

TEST_F(GrpcProbe, AServiceThatTheServerDoesNotKnowIsNamed) {
  serve("127.0.0.1:0");
  settings.grpc_service = "shop.Nobody";
  start();
  EXPECT_THAT(next(), HasSubstr("knows no service 'shop.Nobody'"));
}

TEST_F(GrpcProbe, FindsAServerThatListensInIpv6Alone) {
  serve("[::1]:0");
  start();
  EXPECT_EQ(next(), "well");
}

TEST_F(GrpcProbe, APortWhereNobodyListensFailsInTime) {
  serve("127.0.0.1:0");
  server->Shutdown(std::chrono::system_clock::now());
  server.reset();
  settings.timeout = Millis(500);
  const auto begin = loop.now();
  start();
  EXPECT_THAT(next(), HasSubstr("gRPC health check failed"));
  EXPECT_LT(loop.now() - begin, std::chrono::seconds(5));
}

TEST_F(GrpcProbe, AServerThatSaysNothingFailsInTime) {
  tcp::acceptor mute(loop.context(), {boost::asio::ip::make_address("127.0.0.1"), 0});
  settings.kind = Kind::kGrpc;
  settings.port = mute.local_endpoint().port();
  settings.timeout = Millis(300);
  start();
  EXPECT_THAT(next(), HasSubstr("gRPC health check failed"));
}

TEST_F(GrpcProbe, StoppingInTheMiddleIsNoTrouble) {
  tcp::acceptor mute(loop.context(), {boost::asio::ip::make_address("127.0.0.1"), 0});
  settings.kind = Kind::kGrpc;
  settings.port = mute.local_endpoint().port();
  start();
  run_for(Millis(50));
  probe.reset();
  run_for(Millis(50));
  EXPECT_TRUE(results.empty());
}

}  // namespace
}  // namespace hawser::registration
