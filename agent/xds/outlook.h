// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace hawser::xds {

// What a generation of the proxy that starts now would meet: it asks for what the one that serves has asked for.
struct Outlook {
  struct Missing {
    std::string type;
    std::vector<std::string> names;  // sorted; none: the answer to "all" isn't here
  };
  // It would wait for these without an end: nobody has said that they are, or aren't.
  std::vector<Missing> missing;
  // Types of which the serving generation hasn't taken the newest state: a new one would lack what that one still has
  // in an earlier version.
  std::vector<std::string> rejected;
  bool settled = false;  // the serving one has answered all that it was sent
};

}  // namespace hawser::xds
