// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "certs/identity.h"

// What: the two secrets of an identity, packed as a google.protobuf.Any, ready for a DiscoveryResponse. Pure.
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

std::string pack_certificate(const certs::Identity& identity);
std::string pack_roots(const Roots& roots);

}  // namespace hawser::sds
