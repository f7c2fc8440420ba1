// SPDX-License-Identifier: Apache-2.0
#include "xds/cache.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace hawser::xds {
namespace {

constexpr std::size_t kHashBytes = 16;

// A collision would leave a proxy on old configuration, so it's a cryptographic hash; 128 bits are plenty as a version.
std::array<unsigned char, EVP_MAX_MD_SIZE> hash_of(std::string_view bytes) {
  // Fetched once: EVP_sha256() would look the provider up at each call.
  static EVP_MD* const sha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  if (sha256 == nullptr || EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, sha256, nullptr) != 1)
    std::abort();
  return digest;
}

}  // namespace

std::string Resource::hash_hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  const auto digest = hash_of(body);
  std::string out;
  out.reserve(kHashBytes * 2);
  for (std::size_t i = 0; i < kHashBytes; ++i) {
    const unsigned char byte = digest[i];
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
}

const Cache::OfType* Cache::of(const std::string& type) const {
  const auto found = types_.find(type);
  return found == types_.end() ? nullptr : &found->second;
}

const Cache::Entry* Cache::entry(const std::string& type, const std::string& name) const {
  const OfType* of_type = of(type);
  if (of_type == nullptr) return nullptr;
  const auto found = of_type->entries.find(name);
  return found == of_type->entries.end() ? nullptr : &found->second;
}

ResourcePtr Cache::find(const std::string& type, const std::string& name) const {
  const Entry* found = entry(type, name);
  return found == nullptr ? nullptr : found->current;
}

bool Cache::absent(const std::string& type, const std::string& name) const {
  const OfType* of_type = of(type);
  return of_type != nullptr && of_type->absent.contains(name);
}

ResourcePtr Cache::accepted(const std::string& type, const std::string& name) const {
  const Entry* found = entry(type, name);
  return found == nullptr ? nullptr : found->accepted;
}

bool Cache::synced(const std::string& type) const {
  const OfType* of_type = of(type);
  return of_type != nullptr && of_type->synced;
}

bool Cache::set_synced(const std::string& type) {
  OfType& held = make(type);
  const bool was_restored = std::exchange(held.restored, false);
  return !std::exchange(held.synced, true) || was_restored;
}

bool Cache::restored(const std::string& type) const {
  const OfType* of_type = of(type);
  return of_type != nullptr && of_type->restored;
}

void Cache::set_restored(const std::string& type, bool wildcard) {
  OfType& held = make(type);
  held.restored = true;
  held.synced = held.synced || wildcard;
}

// Messages have thousands of resources of one type: the map is searched once for all of them.
Cache::OfType& Cache::make(const std::string& type) {
  if (last_ == nullptr || last_->first != type) last_ = &*types_.try_emplace(type).first;
  return last_->second;
}

Cache::Put Cache::put(const std::string& type, ResourceBytes& resource) {
  OfType& held = make(type);
  if (!held.absent.empty()) held.absent.erase(resource.name);
  Entry& entry = held.entries[resource.name];
  Place place;
  place.entry = &entry;
  place.erased = held.erased;
  ResourcePtr& slot = entry.current;
  const bool same = slot != nullptr && slot->body == resource.body;
  if (same && slot->version == resource.version) return {slot, place};
  held.bytes += resource.body.size();
  if (slot != nullptr) {
    held.bytes -= slot->body.size();
  } else {
    ++held.current;
  }
  const std::uint64_t id = same ? slot->id : ++last_id_;
  slot = std::make_shared<const Resource>(Resource{std::move(resource.version), id, std::move(resource.body)});
  return {slot, place};
}

void Cache::drop_current(OfType& of_type, Entries::iterator found) {
  if (found->second.current == nullptr) return;
  of_type.bytes -= found->second.current->body.size();
  --of_type.current;
  found->second.current.reset();
}

void Cache::drop_if_empty(OfType& of_type, Entries::iterator found) {
  if (found->second.current == nullptr && found->second.accepted == nullptr) erase(of_type, found);
}

void Cache::erase(OfType& of_type, Entries::iterator found) {
  ++of_type.erased;
  of_type.entries.erase(found);
}

void Cache::remove(const std::string& type, const std::string& name, bool remember) {
  OfType& held = make(type);
  if (const auto found = held.entries.find(name); found != held.entries.end()) {
    drop_current(held, found);
    drop_if_empty(held, found);
  }
  if (remember) held.absent.insert(name);
}

void Cache::forget(const std::string& type, const std::string& name, Accepted accepted) {
  OfType& held = make(type);
  held.absent.erase(name);
  const auto found = held.entries.find(name);
  if (found == held.entries.end()) return;
  drop_current(held, found);
  if (found->second.accepted != nullptr) {
    if (accepted == Accepted::kKept) return;
    ++held.accepted_revision;
  }
  erase(held, found);
}

void Cache::forget_all_but(const std::string& type, const std::unordered_set<std::string>& keep) {
  OfType& held = make(type);
  held.synced = held.restored = false;
  for (const auto& name : names(type)) {
    if (!keep.contains(name)) forget(type, name);
  }
}

void Cache::accept(const std::string& type, const std::string& name, ResourcePtr resource, Place place) {
  OfType& held = make(type);
  if (resource != nullptr) {
    const bool known = place.entry != nullptr && place.erased == held.erased;
    ResourcePtr& slot = (known ? *static_cast<Entry*>(place.entry) : held.entries[name]).accepted;
    if (slot == resource) return;
    slot = std::move(resource);
    ++held.accepted_revision;
    return;
  }
  const auto found = held.entries.find(name);
  if (found == held.entries.end() || found->second.accepted == nullptr) return;
  found->second.accepted.reset();
  ++held.accepted_revision;
  drop_if_empty(held, found);
}

std::uint64_t Cache::accepted_revision(const std::string& type) const {
  const OfType* of_type = of(type);
  return of_type == nullptr ? 0 : of_type->accepted_revision;
}

std::vector<std::pair<std::string, ResourcePtr>> Cache::accepted(const std::string& type) const {
  std::vector<std::pair<std::string, ResourcePtr>> out;
  if (const OfType* of_type = of(type)) {
    for (const auto& [name, entry] : of_type->entries) {
      if (entry.accepted != nullptr) out.emplace_back(name, entry.accepted);
    }
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return out;
}

std::vector<std::string> Cache::names(const std::string& type) const {
  std::vector<std::string> out;
  if (const OfType* of_type = of(type)) {
    out.reserve(of_type->current);
    for (const auto& [name, entry] : of_type->entries) {
      if (entry.current != nullptr) out.push_back(name);
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::map<std::string, std::string> Cache::versions(const std::string& type) const {
  std::map<std::string, std::string> out;
  if (const OfType* of_type = of(type)) {
    for (const auto& [name, entry] : of_type->entries) {
      if (entry.current != nullptr) out.emplace(name, entry.current->version);
    }
  }
  return out;
}

Cache::Size Cache::size(const std::string& type) const {
  const OfType* of_type = of(type);
  return of_type == nullptr ? Size{} : Size{of_type->current, of_type->bytes};
}

std::vector<std::string> Cache::types() const {
  std::vector<std::string> out;
  for (const auto& [type, of_type] : types_) out.push_back(type);
  return out;
}

}  // namespace hawser::xds
