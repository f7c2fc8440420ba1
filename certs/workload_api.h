// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "certs/secret.h"

namespace hawser::certs {

// One identity that the Workload API offers, as it came.
struct Svid {
  std::string spiffe_id;
  std::string chain_der;
  Secret key_der;
  std::string bundle_der;  // of its own trust domain
};

struct SvidUpdate {
  std::vector<Svid> svids;
  std::vector<std::string> federated;  // names of other trust domains whose bundles came along
  std::size_t crls = 0;
};

// What: one call of SpiffeWorkloadAPI/FetchX509SVID over a Unix socket: what it says now, and each time that it says
// something new. Of updates that come faster than they are taken, the newest counts.
// Threading: on the loop; gRPC's threads copy and post. Destroying it ends the call; nothing is called after that, nor
// from within the constructor. Failure, told once by `ended`: HWS-CA-030 nobody serves the socket, -031 no identity for
// this user, -034 the rest.
// Source: the SPIFFE Workload API specification, §5; a call without the metadata workload.spiffe.io is refused there.
class WorkloadStream {
 public:
  using Updated = std::function<void(SvidUpdate)>;
  using Ended = std::function<void(const Error&)>;

  WorkloadStream(Loop& loop, std::string socket_path, Updated updated, Ended ended);
  ~WorkloadStream();
  WorkloadStream(const WorkloadStream&) = delete;
  WorkloadStream& operator=(const WorkloadStream&) = delete;

 private:
  struct Call;
  std::shared_ptr<Call> call_;
};

}  // namespace hawser::certs
