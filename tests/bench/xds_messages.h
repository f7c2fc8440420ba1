// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>

namespace grpc {
class ByteBuffer;
}

// What: both variants of ADS as far as pushing and acknowledging goes: delta, and state of the world.
namespace hawser::bench {

enum class Variant { kDelta, kSotw };

inline constexpr char kDeltaMethod[] =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
inline constexpr char kSotwMethod[] =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
inline constexpr std::size_t kResourceBytes = 1100;  // about an outbound cluster of istiod's

grpc::ByteBuffer buffer_of(const std::string& bytes);

struct Push {
  std::string type;
  std::size_t bytes = 0;  // of resources, about
  std::size_t from = 0;   // number of the first one
  std::string version;    // "#" and digits
  std::string nonce;
};

// All resources differ from those of another version.
std::string make_push(Variant variant, const Push& push);

// What a client sees of a response.
struct Seen {
  std::string type;
  std::string nonce;
  std::string version;  // of its last resource
  std::size_t resources = 0;
};

Seen see(Variant variant, grpc::ByteBuffer& buffer);

struct Asked {
  std::string type;
  std::string nonce;
  std::string node;
};

std::string make_request(Variant variant, const Asked& asked, const std::string& version);

Asked read_request(Variant variant, grpc::ByteBuffer& buffer);

}  // namespace hawser::bench
