// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "xds/downstream.h"

namespace hawser::xds {

// What: the resources that a proxy hasn't taken. A response may hold one resource of many, and taking that says nothing
// of the others: what Envoy names in its refusal ("Error adding/updating listener(s) a: why", source: lds_api.cc,
// cds_api_helper.cc) counts until the proxy takes another version of it, or its removal, or wants it no more. What came
// in a response that was refused without a name, or with a text that was cut, counts until the next answer of its type.
// Threading: the relay's strand. Failure: none. Bounded: by what the proxy was sent.
class Refusals {
 public:
  // How it answered; `refusal` is its reason, absent if it took the response.
  void note(const std::string& type, const Delivery& delivery, const std::optional<std::string>& refusal);
  void forget(const std::string& type, const InterestChange& change);

  bool outstanding(const std::string& type) const { return types_.contains(type); }
  // Types of which it has refused something that it has in an earlier version, and a successor wouldn't.
  std::vector<std::string> of_what_it_has() const;
  // By type of which something is outstanding: the last reason given.
  std::map<std::string, std::string> reasons() const;

 private:
  using Names = std::unordered_map<std::string, bool>;  // true: it has an earlier version
  struct OfType {
    Names names;
    Names unnamed;  // one of these at least
    std::string reason;
    bool over() const { return names.empty() && unnamed.empty(); }
  };
  std::map<std::string, OfType> types_;
};

}  // namespace hawser::xds
