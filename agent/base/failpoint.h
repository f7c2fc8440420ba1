// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

// What: named places at the durable steps, where a test makes the program crash or the step fail. Compiled in only with
// the CMake option HAWSER_FAILPOINTS, and then chosen by HAWSER_FAILPOINT="PATTERN:ACTION[@N[+]]": PATTERN is matched
// by fnmatch(3) against "step/file name", ACTION is `crash` (SIGKILL to itself), `errno=ENOSPC`, `delay=MS` (a slow
// disk, at most 60 s) or `tell` (a line on standard error), and N is the passage that is meant (1: the first; N+: those
// after it too; without it `errno` fails and `delay` holds up every passage). Threading: any. Failure: a text that
// isn't understood ends the program, because a test that injects nothing would pass.
namespace hawser::failpoint {

#ifdef HAWSER_FAILPOINTS

inline constexpr bool kEnabled = true;

// True: the step has to fail, and errno says how. `path` is the file that the step works on.
bool fails(std::string_view step, const std::string& path);

// For tests in this process. An empty text disarms; arming counts passages anew.
void arm(const std::string& text);
// The passages since arming, in order, as "step/file name": a test that enumerates them covers new steps by itself.
std::vector<std::string> passed();

#else

inline constexpr bool kEnabled = false;

inline constexpr bool fails(std::string_view /*step*/, const std::string& /*path*/) {
  return false;
}

#endif

}  // namespace hawser::failpoint
