// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>

#include "base/metrics.h"
#include "xds/wire.h"

namespace hawser::xds {

// What: remembers what is odd about the control plane's responses though the relay copes with it: no nonce, the nonce
// of the response before, a type that the stream never asked for. Each kind is logged once a stream (HWS-XDS-042).
// Threading: the relay's strand. Failure: none. Bounded: one nonce for each type that was asked for.
// Metrics: hawser_xds_oddities_total{kind}.
class Oddities {
 public:
  explicit Oddities(Metrics& metrics) : metrics_(metrics) {}

  void new_stream();
  // A response of a type that was asked for.
  void look_at(const Envelope& envelope);
  void unasked(const std::string& type);

 private:
  void note(const std::string& kind, const std::string& what);

  Metrics& metrics_;
  std::map<std::string, std::string> last_nonces_;
  std::set<std::string> told_;
};

}  // namespace hawser::xds
