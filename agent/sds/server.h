// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/metrics.h"
#include "certs/identity.h"
#include "sds/secrets.h"

namespace grpc {
class Service;
}

namespace hawser::sds {

// What: envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets: hands the proxy its certificate as `default` and
// the roots to trust as `ROOTCA`, and pushes both when they change: roots first, so that what a new leaf's peers show
// is trusted by the time the leaf is shown. State of the world; a request waits until there is what it asks for.
// Threading: on the loop. gRPC's reactors copy and post; at most one write is outstanding on a stream, and a newer
// value replaces one that waits. Failure: a NACK is a warning, a metric, and not repeated until the secret changes.
// Metrics: hawser_sds_streams, hawser_sds_pushes_total{resource}, hawser_sds_answers_total{answer}.
class SdsServer {
 public:
  struct Presented {
    std::string serial;   // of the leaf that the proxy last accepted; empty before
    std::string version;  // as sent to it
  };

  SdsServer(Loop& loop, Metrics& metrics);
  // The gRPC server that has service() must be gone by then.
  ~SdsServer();
  SdsServer(const SdsServer&) = delete;
  SdsServer& operator=(const SdsServer&) = delete;

  grpc::Service* service();
  void publish(const certs::IdentityPtr& identity);  // with its own roots
  void publish(const certs::IdentityPtr& identity, Roots roots);
  const Presented& presented() const;
  // Each time the proxy accepts another leaf.
  void on_presented(std::function<void(const Presented&)> callback);
  // Ends all streams and refuses new ones, without needing the loop again: call it before the gRPC server is stopped,
  // which waits for them.
  void shutdown();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::sds
