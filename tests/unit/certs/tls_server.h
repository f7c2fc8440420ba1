// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

namespace hawser::certs::test {

// What: a TCP server on 127.0.0.1 that isn't what was hoped for. One thread; ends with the object.
class PlainServer {
 public:
  enum class Manner {
    kRefuse,  // the port was free a moment ago, and nobody listens
    kTalk,    // answers in clear
    kClose,   // accepts and closes
    kMute,    // accepts and says nothing
  };
  explicit PlainServer(Manner manner);
  ~PlainServer();
  const std::string& address() const { return address_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

// What: completes TLS handshakes with the given certificate, then closes.
class TlsServer {
 public:
  TlsServer(const std::string& key_pem, const std::string& chain_pem);
  ~TlsServer();
  const std::string& address() const { return address_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

// What: completes TLS handshakes as an HTTP/2 server does, and then isn't one.
class OddServer {
 public:
  enum class Manner {
    kGoAway,            // says SETTINGS and GOAWAY, and closes
    kMute,              // says nothing more, and keeps the connection
    kWantsCertificate,  // ends handshakes without a client certificate by an alert
  };
  OddServer(Manner manner, const std::string& key_pem, const std::string& chain_pem);
  ~OddServer();
  const std::string& address() const { return address_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace hawser::certs::test
