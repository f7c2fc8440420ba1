// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "xds/types.h"
#include "xds/wire.h"

namespace hawser::xds {

// One version of one resource; immutable, shared by everyone who still needs it.
struct Resource {
  std::string version;  // the plane's, often empty
  // Equal only for equal bodies, and never used twice: tells "the same as then" without keeping what was then.
  std::uint64_t id = 0;
  std::string body;
  // Of the body, as a version that a proxy may compare: 128 bits of a cryptographic hash. Computed at each call, since
  // most resources are forwarded as they came and never need one.
  std::string hash_hex() const;
};
using ResourcePtr = std::shared_ptr<const Resource>;

// What: the last state that the control plane sent: type → name → resource, with "this name doesn't exist" and "the
// answer to the wildcard is here" remembered as well. Beside it, per name, what a proxy last accepted.
// Threading: the relay's strand. Failure: none; its size is bounded by what is subscribed to.
class Cache {
 public:
  Cache() = default;
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  ResourcePtr find(const std::string& type, const std::string& name) const;
  bool absent(const std::string& type, const std::string& name) const;
  ResourcePtr accepted(const std::string& type, const std::string& name) const;

  // Has the plane answered a subscription to all of this type, now or in the snapshot?
  bool synced(const std::string& type) const;
  // The plane has; true when that is news.
  bool set_synced(const std::string& type);
  // Is what is here of this type a snapshot's, which the plane hasn't spoken about yet?
  bool restored(const std::string& type) const;
  // `wildcard`: the snapshot is all of the type.
  void set_restored(const std::string& type, bool wildcard);

  // Where a name was when it was put: a hint, which may be outdated.
  class Place {
   private:
    friend class Cache;
    void* entry = nullptr;
    std::uint64_t erased = 0;
  };
  struct Put {
    ResourcePtr resource;
    Place place;
  };
  // Takes version and body out of it; the name stays.
  Put put(const std::string& type, ResourceBytes& resource);
  Put put(const std::string& type, ResourceBytes&& resource) { return put(type, resource); }
  // `remember`: somebody asked for this very name, and has to be told that it doesn't exist.
  void remove(const std::string& type, const std::string& name, bool remember);
  // Nobody wants the name any more: it won't be kept up to date. What was accepted may stay.
  enum class Accepted { kForgotten, kKept };
  void forget(const std::string& type, const std::string& name, Accepted accepted = Accepted::kForgotten);
  // Nobody wants all of this type any more; `keep` are the names still wanted.
  void forget_all_but(const std::string& type, const std::unordered_set<std::string>& keep);

  // A proxy took this; a null resource means that it took the removal.
  void accept(const std::string& type, const std::string& name, ResourcePtr resource, Place place);
  void accept(const std::string& type, const std::string& name, ResourcePtr resource) {
    accept(type, name, std::move(resource), Place());
  }
  // Differs after each change of what is accepted of the type; 0: nothing ever was.
  std::uint64_t accepted_revision(const std::string& type) const;
  // Sorted by name.
  std::vector<std::pair<std::string, ResourcePtr>> accepted(const std::string& type) const;

  std::vector<std::string> names(const std::string& type) const;
  std::map<std::string, std::string> versions(const std::string& type) const;

  struct Size {
    std::size_t resources = 0;
    std::size_t bytes = 0;
  };
  Size size(const std::string& type) const;
  std::vector<std::string> types() const;

 private:
  // In one map: with thousands of small resources, names and nodes are much of the memory.
  struct Entry {
    ResourcePtr current;
    ResourcePtr accepted;
  };
  using Entries = std::unordered_map<std::string, Entry>;
  struct OfType {
    bool synced = false;
    bool restored = false;
    Entries entries;
    std::size_t current = 0;  // entries that have one
    std::uint64_t accepted_revision = 0;
    std::uint64_t erased = 1;  // rises with each entry that goes; as long as it doesn't, all places are good
    std::unordered_set<std::string> absent;
    std::size_t bytes = 0;
  };
  OfType& make(const std::string& type);
  const OfType* of(const std::string& type) const;
  const Entry* entry(const std::string& type, const std::string& name) const;
  static void drop_current(OfType& of_type, Entries::iterator found);
  static void drop_if_empty(OfType& of_type, Entries::iterator found);
  static void erase(OfType& of_type, Entries::iterator found);

  using Types = std::map<std::string, OfType, TypeOrder>;
  Types types_;
  Types::value_type* last_ = nullptr;  // no type is ever erased
  std::uint64_t last_id_ = 0;
};

}  // namespace hawser::xds
