// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "xds/cache.h"
#include "xds/types.h"
#include "xds/wire.h"

namespace hawser::xds {

// What: the union of what everyone behind the relay wants, and the requests that bring the upstream stream there. Each
// interest is counted, so that a name is unsubscribed only when nobody wants it.
// Threading: the relay's strand. Failure: none.
class Subscriptions {
 public:
  void want(const std::string& type, const std::string& name);
  // True when nobody wants the name now.
  bool unwant(const std::string& type, const std::string& name);
  void want_all(const std::string& type);
  bool unwant_all(const std::string& type);

  bool wants_all(const std::string& type) const;
  bool wants_any(const std::string& type) const;
  bool wants_name(const std::string& type, const std::string& name) const;
  std::unordered_set<std::string> names(const std::string& type) const;
  // Is the union exactly this one subscription? The union contains it, so comparing sizes is enough.
  bool is_just(const std::string& type, bool all, std::size_t names) const;

  // A new upstream stream: nothing is asked for on it yet.
  void new_stream();
  // Has this stream asked for the type?
  bool opened(const std::string& type) const;
  // The next request to send, without node and nonce; nullopt when the stream has asked for everything. Clusters come
  // first, then endpoints, listeners, routes, the rest; the first of a type tells the versions that the cache holds.
  std::optional<Request> next(const Cache& cache);

 private:
  struct OfType {
    std::size_t all = 0;
    std::unordered_map<std::string, std::size_t> names;
    bool opened = false;
    bool asked_all = false;
    bool drop_all = false;
    std::unordered_set<std::string> to_subscribe;
    std::unordered_set<std::string> to_unsubscribe;
  };
  static std::optional<Request> open(const std::string& type, OfType& of_type, const Cache& cache);
  static std::optional<Request> change(const std::string& type, OfType& of_type);

  std::map<std::string, OfType, TypeOrder> types_;
};

}  // namespace hawser::xds
