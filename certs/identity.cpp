// SPDX-License-Identifier: Apache-2.0
#include "certs/identity.h"

#include <algorithm>

#include "certs/x509.h"

namespace hawser::certs {

Result<IdentityPtr> make_identity(Secret key, const std::string& chain_pem, const std::string& roots_pem) {
  auto roots = split_bundle(roots_pem);
  if (!roots) return roots.error();
  auto chain = split_bundle(chain_pem);
  if (!chain) return chain.error();
  // A peer has the roots already; sending them costs each handshake bytes.
  const auto is_root = [&](const std::string& pem) {
    return std::find(roots->begin(), roots->end(), pem) != roots->end();
  };
  chain->erase(std::remove_if(chain->begin() + 1, chain->end(), is_root), chain->end());

  auto leaf = parse_leaf(chain->front());
  if (!leaf) return leaf.error();
  auto identity = std::make_shared<Identity>();
  identity->key_pem = std::move(key);
  for (const auto& pem : *chain) identity->chain_pem += pem;
  for (const auto& pem : *roots) identity->roots_pem += pem;
  identity->spiffe_id = std::move(leaf->spiffe_id);
  identity->serial = std::move(leaf->serial);
  identity->issuer = std::move(leaf->issuer);
  identity->not_before = leaf->not_before;
  identity->not_after = leaf->not_after;
  if (auto match = match_key(identity->key_pem.reveal(), identity->chain_pem); !match) return match.error();
  if (auto verified = verify_chain(identity->chain_pem, identity->roots_pem); !verified) return verified.error();
  return IdentityPtr(std::move(identity));
}

}  // namespace hawser::certs
