// SPDX-License-Identifier: Apache-2.0
#include "xds/cache.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdlib>

namespace hawser::xds {
namespace {

// A collision would leave a proxy on old configuration, so it's a cryptographic hash; 128 bits are plenty as a version.
Hash hash_of(std::string_view bytes) {
  // Fetched once: EVP_sha256() would look the provider up at each call.
  static EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  if (sha256 == nullptr || EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, sha256, nullptr) != 1)
    std::abort();
  Hash out{};
  std::copy_n(digest.begin(), out.size(), out.begin());
  return out;
}

}  // namespace

std::string Resource::hash_hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(hash.size() * 2);
  for (const unsigned char byte : hash) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

const Cache::OfType* Cache::of(const std::string& type) const {
  const auto found = types_.find(type);
  return found == types_.end() ? nullptr : &found->second;
}

ResourcePtr Cache::find(const std::string& type, const std::string& name) const {
  const OfType* of_type = of(type);
  if (of_type == nullptr) return nullptr;
  const auto found = of_type->current.find(name);
  return found == of_type->current.end() ? nullptr : found->second;
}

bool Cache::absent(const std::string& type, const std::string& name) const {
  const OfType* of_type = of(type);
  return of_type != nullptr && of_type->absent.contains(name);
}

ResourcePtr Cache::accepted(const std::string& type, const std::string& name) const {
  const OfType* of_type = of(type);
  if (of_type == nullptr) return nullptr;
  const auto found = of_type->accepted.find(name);
  return found == of_type->accepted.end() ? nullptr : found->second;
}

bool Cache::synced(const std::string& type) const {
  const OfType* of_type = of(type);
  return of_type != nullptr && of_type->synced;
}

bool Cache::set_synced(const std::string& type) {
  return !std::exchange(types_[type].synced, true);
}

ResourcePtr Cache::put(const std::string& type, ResourceBytes&& resource) {
  OfType& of_type = types_[type];
  of_type.absent.erase(resource.name);
  ResourcePtr& slot = of_type.current[resource.name];
  const Hash hash = hash_of(resource.body);
  if (slot != nullptr && slot->hash == hash && slot->version == resource.version) return slot;
  of_type.bytes += resource.body.size();
  if (slot != nullptr) of_type.bytes -= slot->body.size();
  slot = std::make_shared<const Resource>(Resource{std::move(resource.version), hash, std::move(resource.body)});
  return slot;
}

void Cache::erase(OfType& of_type, const std::string& name) {
  const auto found = of_type.current.find(name);
  if (found == of_type.current.end()) return;
  of_type.bytes -= found->second->body.size();
  of_type.current.erase(found);
}

void Cache::remove(const std::string& type, const std::string& name, bool remember) {
  OfType& of_type = types_[type];
  erase(of_type, name);
  if (remember) of_type.absent.insert(name);
}

void Cache::forget(const std::string& type, const std::string& name) {
  OfType& of_type = types_[type];
  erase(of_type, name);
  of_type.absent.erase(name);
  of_type.accepted.erase(name);
}

void Cache::forget_all_but(const std::string& type, const std::unordered_set<std::string>& keep) {
  OfType& of_type = types_[type];
  of_type.synced = false;
  std::vector<std::string> gone;
  for (const auto& [name, resource] : of_type.current) {
    if (!keep.contains(name)) gone.push_back(name);
  }
  for (const auto& name : gone) forget(type, name);
}

void Cache::accept(const std::string& type, const std::string& name, ResourcePtr resource) {
  OfType& of_type = types_[type];
  if (resource == nullptr) {
    of_type.accepted.erase(name);
  } else {
    of_type.accepted[name] = std::move(resource);
  }
}

std::vector<std::string> Cache::names(const std::string& type) const {
  std::vector<std::string> out;
  if (const OfType* of_type = of(type)) {
    for (const auto& [name, resource] : of_type->current) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::map<std::string, std::string> Cache::versions(const std::string& type) const {
  std::map<std::string, std::string> out;
  if (const OfType* of_type = of(type)) {
    for (const auto& [name, resource] : of_type->current) out.emplace(name, resource->version);
  }
  return out;
}

Cache::Size Cache::size(const std::string& type) const {
  const OfType* of_type = of(type);
  return of_type == nullptr ? Size{} : Size{of_type->current.size(), of_type->bytes};
}

std::vector<std::string> Cache::types() const {
  std::vector<std::string> out;
  for (const auto& [type, of_type] : types_) out.push_back(type);
  return out;
}

}  // namespace hawser::xds
