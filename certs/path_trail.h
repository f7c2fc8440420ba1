// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

namespace hawser::certs {

// What: the way from / to what a path means: each folder that is asked, and the name that it is asked for, links
// followed as the kernel would. Threading: any; lstat, readlink and stat alone. Failure: none; it ends where the path
// does.
struct Trail {
  // Before the folder is asked for the name, so that a watch set here misses nothing. An empty name: all that is in it.
  using Step = std::function<void(const std::string& folder, const std::string& name)>;

  std::string end;    // the path without links; what is left of it where something is missing
  std::string state;  // changes whenever what the path means, or its content, was replaced
};

// `path` is absolute. Bounded: 40 links, as the kernel's.
Trail follow(const std::string& path, const Trail::Step& step);

}  // namespace hawser::certs
