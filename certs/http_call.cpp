// SPDX-License-Identifier: Apache-2.0
#include "certs/http_call.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <mutex>
#include <vector>

#include "dial/look_up.h"

namespace hawser::certs {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace ssl = asio::ssl;
using asio::ip::tcp;
using Failure = boost::system::error_code;

constexpr std::uint32_t kMaxHeader = 16 * 1024;

std::string place(const HttpRequest& request) {
  const bool v6 = request.host.find(':') != std::string::npos;
  return (v6 ? "[" + request.host + "]" : request.host) + ":" + std::to_string(request.port);
}

// The roots, and who we are. Nothing of the machine's own store counts.
Failure set_up(ssl::context& context, const HttpTls& tls) {
  Failure bad;
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  context.set_verify_mode(ssl::verify_peer, bad);
  if (!bad) context.add_certificate_authority(asio::buffer(tls.roots_pem), bad);
  if (bad || tls.chain_pem.empty()) return bad;
  context.use_certificate_chain(asio::buffer(tls.chain_pem), bad);
  if (!bad) context.use_private_key(asio::buffer(tls.key.reveal()), ssl::context::pem, bad);
  return bad;
}

bool expect_name(SSL* session, const std::string& name) {
  Failure no_address;
  asio::ip::make_address(name, no_address);
  if (!no_address) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name.c_str()) == 1;
  SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(session, name.c_str()) == 1 && SSL_set_tlsext_host_name(session, name.c_str()) == 1;
}

}  // namespace

struct HttpCall::Impl {
  explicit Impl(std::string error_id) : id(std::move(error_id)) {}

  Error error(Code code, const std::string& message) const { return {code, id, message}; }
  Error cancelled() const { return error(Code::kCancelled, "given up, because hawserd stops"); }

  // Starts one operation and runs its context until it is done. `start` gets the handler to hand on.
  template <typename Start>
  Failure step(asio::io_context& context, Start start) {
    Failure result = asio::error::operation_aborted;
    start([&result](const Failure& failed, auto&&...) { result = failed; });
    {
      const std::lock_guard lock(mutex);
      if (ended) return asio::error::operation_aborted;
      context.restart();
    }
    context.run();
    return result;
  }

  Error explain(const Failure& failed, const std::string& what, const HttpRequest& request, SSL* session) {
    {
      const std::lock_guard lock(mutex);
      if (ended) return cancelled();
    }
    const std::string where = what + " " + place(request) + ": ";
    if (failed == beast::error::timeout) return error(Code::kDeadlineExceeded, where + "no answer in time");
    if (session != nullptr && SSL_get_verify_result(session) != X509_V_OK)
      return error(Code::kUnauthenticated, where + X509_verify_cert_error_string(SSL_get_verify_result(session)));
    const bool cut_off = failed == http::error::end_of_stream || failed == http::error::partial_message;
    if (!cut_off && failed.category() == make_error_code(http::error::bad_version).category())
      return error(Code::kDataLoss, where + failed.message());
    return error(Code::kUnavailable, where + failed.message());
  }

  template <typename Stream>
  Result<HttpAnswer> exchange(asio::io_context& context, Stream& stream, SSL* session, const HttpRequest& request) {
    http::request<http::string_body> message(http::string_to_verb(request.method), request.target, 11, request.body);
    message.set(http::field::host, place(request));
    message.set(http::field::connection, "close");
    for (const auto& [name, value] : request.headers) message.set(name, value);
    if (!request.body.empty()) message.prepare_payload();
    auto failed = step(context, [&](auto done) { http::async_write(stream, message, std::move(done)); });
    if (failed) return explain(failed, "can't ask", request, session);
    http::response_parser<http::string_body> parser;
    parser.header_limit(kMaxHeader);
    parser.body_limit(request.max_body);
    beast::flat_buffer buffer(kMaxHeader + request.max_body);
    failed = step(context, [&](auto done) { http::async_read(stream, buffer, parser, std::move(done)); });
    if (failed) return explain(failed, "no answer from", request, session);
    HttpAnswer answer;
    answer.status = static_cast<int>(parser.get().result_int());
    for (const auto& field : parser.get()) {
      std::string name(field.name_string());
      for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
      answer.headers[name] = std::string(field.value());
    }
    answer.body = Secret(std::move(parser.get().body()));
    return answer;
  }

  Result<std::vector<tcp::endpoint>> look_up(const HttpRequest& request) const {
    std::vector<std::string> found{request.host};
    Failure no_address;
    asio::ip::make_address(request.host, no_address);
    if (no_address) {
      auto looked_up = dial::look_up(request.host);
      if (!looked_up) return error(Code::kUnavailable, looked_up.error().message());
      found = std::move(*looked_up);
    }
    std::vector<tcp::endpoint> out;
    for (const auto& text : found)
      if (const auto address = asio::ip::make_address(text, no_address); !no_address)
        out.emplace_back(address, request.port);
    return out;
  }

  Result<HttpAnswer> run(const HttpRequest& request) {
    auto endpoints = look_up(request);
    if (!endpoints) return endpoints.error();
    asio::io_context context{1};
    {
      const std::lock_guard lock(mutex);
      if (ended) return cancelled();
      running = &context;
    }
    auto answer = converse(context, *endpoints, request);
    const std::lock_guard lock(mutex);
    running = nullptr;
    return answer;
  }

  Result<HttpAnswer> converse(asio::io_context& context, const std::vector<tcp::endpoint>& endpoints,
                              const HttpRequest& request) {
    ssl::context tls_context(ssl::context::tls_client);
    if (request.tls)
      if (const auto bad = set_up(tls_context, *request.tls); bad)
        return error(Code::kInvalidArgument, "TLS with " + place(request) + " can't be set up: " + bad.message());
    beast::tcp_stream plain(context);
    plain.expires_after(request.timeout);
    auto failed = step(context, [&](auto done) { plain.async_connect(endpoints, std::move(done)); });
    if (failed) return explain(failed, "can't connect to", request, nullptr);
    if (!request.tls) return exchange(context, plain, nullptr, request);
    ssl::stream<beast::tcp_stream&> stream(plain, tls_context);
    SSL* session = stream.native_handle();
    if (!expect_name(session, request.tls->name))
      return error(Code::kInvalidArgument, "'" + request.tls->name + "' can't be a server's name");
    failed = step(context, [&](auto done) { stream.async_handshake(ssl::stream_base::client, std::move(done)); });
    if (failed) return explain(failed, "no TLS with", request, session);
    return exchange(context, stream, session, request);
  }

  std::string id;
  std::mutex mutex;  // cancel() comes from another thread
  asio::io_context* running = nullptr;
  bool ended = false;
};

HttpCall::HttpCall(std::string error_id) : impl_(std::make_unique<Impl>(std::move(error_id))) {}
HttpCall::~HttpCall() = default;

Result<HttpAnswer> HttpCall::run(const HttpRequest& request) {
  return impl_->run(request);
}

void HttpCall::cancel() {
  const std::lock_guard lock(impl_->mutex);
  impl_->ended = true;
  if (impl_->running != nullptr) impl_->running->stop();
}

}  // namespace hawser::certs
