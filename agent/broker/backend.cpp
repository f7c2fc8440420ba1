// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "broker/backend.h"

#include "netfilter/backend_pair.h"
#include "netfilter/iptc_backend.h"
#include "netfilter/nft_backend.h"
#include "netfilter/routed_backend.h"

namespace hawser::broker {
namespace {

using netfilter::Backend;
using netfilter::BackendKind;
using netfilter::NftBackend;

constexpr const char* kStoredPrefix = "nft-";

std::vector<NftBackend::Inherited> inherited_from(FdStore& store) {
  std::vector<NftBackend::Inherited> out;
  if (!store.available()) return out;
  for (auto& stored : store.take(kStoredPrefix))
    if (netfilter::is_nft_socket(stored.fd.get()))
      out.push_back({std::move(stored.fd), stored.name.substr(std::string(kStoredPrefix).size())});
  return out;
}

// With systemd, the rules outlive us: their socket waits in its store for our successor.
Result<std::unique_ptr<NftBackend>> make_nft(FdStore& store, std::vector<NftBackend::Inherited> inherited,
                                             const std::string& digest, const std::string& succession) {
  if (!store.available()) return NftBackend::make();
  return NftBackend::make(std::move(inherited),
                          {[&store](int socket, const std::string& table) { store.put(socket, kStoredPrefix + table); },
                           [&store](const std::string& table) { store.forget(kStoredPrefix + table); }},
                          digest,
                          succession == "replace" ? NftBackend::Succession::kReplace : NftBackend::Succession::kAdopt);
}

// Tables of a broker before this one, which are ours only if their sockets are.
std::unique_ptr<Backend> former_nft(FdStore& store, const std::string& digest) {
  if (!netfilter::nftables_usable()) return nullptr;
  auto inherited = inherited_from(store);
  auto nft =
      inherited.empty() ? NftBackend::make() : make_nft(store, std::move(inherited), digest, std::string("adopt"));
  return nft ? std::unique_ptr<Backend>(std::move(*nft)) : nullptr;
}

}  // namespace

Result<std::unique_ptr<Backend>> make_backend(FdStore& store, BackendKind wanted, const std::string& digest,
                                              const std::string& succession) {
  auto detected = netfilter::detect(wanted);
  if (!detected) return detected.error();
  std::unique_ptr<Backend> pair;
  if (detected->kind == BackendKind::kXtables) {
    pair = std::make_unique<netfilter::BackendPair>(std::make_unique<netfilter::IptcBackend>(),
                                                    former_nft(store, digest), detected->reason);
  } else {
    auto nft = make_nft(store, inherited_from(store), digest, succession);
    if (!nft) return nft.error();
    pair = std::make_unique<netfilter::BackendPair>(std::move(*nft), std::make_unique<netfilter::IptcBackend>(),
                                                    detected->reason);
  }
  return std::unique_ptr<Backend>(std::make_unique<netfilter::RoutedBackend>(std::move(pair)));
}

}  // namespace hawser::broker
