// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "certs/identity.h"

// What: secrets, packed as a google.protobuf.Any, ready for a DiscoveryResponse. Pure.
namespace hawser::sds {

inline constexpr char kSecretType[] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
inline constexpr char kCertificateName[] = "default";
inline constexpr char kRootsName[] = "ROOTCA";

// Whom the proxy believes.
struct Roots {
  std::string pem;
  std::string crl_pem{};          // revocation lists; empty: none
  bool crl_of_leaf_only = false;  // only the peer's own certificate is looked up in them

  bool operator==(const Roots& other) const = default;
};

// Has the proxy's key operations done by hardware (Envoy's contrib extensions).
struct KeyProvider {
  std::string name;  // cryptomb or qat; empty: none
  std::chrono::milliseconds poll_delay{2};
  // The key goes along as usual, for an Envoy that finds no such hardware.
  bool fallback = true;
};

std::string pack_certificate(const std::string& name, const certs::Secret& key_pem, const std::string& chain_pem,
                             const KeyProvider& provider);
std::string pack_roots(const std::string& name, const Roots& roots);

}  // namespace hawser::sds
