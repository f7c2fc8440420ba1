// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "xds/types.h"
#include "xds/wire.h"

namespace hawser::xds {

using Hash = std::array<unsigned char, 16>;

// One version of one resource; immutable, shared by everyone who still needs it.
struct Resource {
  std::string version;  // the plane's, often empty
  Hash hash{};
  std::string body;
  std::string hash_hex() const;
};
using ResourcePtr = std::shared_ptr<const Resource>;

// What: the last state that the control plane sent: type → name → resource, with "this name doesn't exist" and "the
// answer to the wildcard is here" remembered as well. Beside it, per name, what a proxy last accepted.
// Threading: the relay's strand. Failure: none; its size is bounded by what is subscribed to.
class Cache {
 public:
  ResourcePtr find(const std::string& type, const std::string& name) const;
  bool absent(const std::string& type, const std::string& name) const;
  ResourcePtr accepted(const std::string& type, const std::string& name) const;

  // Has the plane answered a subscription to all of this type?
  bool synced(const std::string& type) const;
  // True when that is news.
  bool set_synced(const std::string& type);

  ResourcePtr put(const std::string& type, ResourceBytes&& resource);
  // `remember`: somebody asked for this very name, and has to be told that it doesn't exist.
  void remove(const std::string& type, const std::string& name, bool remember);
  // Nobody wants the name any more: it won't be kept up to date.
  void forget(const std::string& type, const std::string& name);
  // Nobody wants all of this type any more; `keep` are the names still wanted.
  void forget_all_but(const std::string& type, const std::unordered_set<std::string>& keep);

  // A proxy took this; a null resource means that it took the removal.
  void accept(const std::string& type, const std::string& name, ResourcePtr resource);

  std::vector<std::string> names(const std::string& type) const;
  std::map<std::string, std::string> versions(const std::string& type) const;

  struct Size {
    std::size_t resources = 0;
    std::size_t bytes = 0;
  };
  Size size(const std::string& type) const;
  std::vector<std::string> types() const;

 private:
  struct OfType {
    bool synced = false;
    std::unordered_map<std::string, ResourcePtr> current;
    std::unordered_map<std::string, ResourcePtr> accepted;
    std::unordered_set<std::string> absent;
    std::size_t bytes = 0;
  };
  const OfType* of(const std::string& type) const;
  static void erase(OfType& of_type, const std::string& name);

  std::map<std::string, OfType, TypeOrder> types_;
};

}  // namespace hawser::xds
