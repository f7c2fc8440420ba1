// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>

#include "base/result.h"

// What: the mark that an Envoy sets in its family's shared memory while it starts, and that stays when it's killed
// before it serves: then every successor is refused. `hawser-broker --clear-mark PATH`, as the proxy's user, takes it
// out; only that user may open the file. Only for a file of the very layout that is known (protocol version 11, two
// mutexes, then the flags), and only when no successor is on its way: that is for the caller to know.
// Threading: blocking, one small file. Failure: HWS-BR-043.
namespace hawser::proxy {

Status clear_shared_mark(const std::string& path);
// As a program: 0, or 1 with the reason on standard output.
int clear_shared_mark_program(const char* path);

}  // namespace hawser::proxy
