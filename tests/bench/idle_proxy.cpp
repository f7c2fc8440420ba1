// SPDX-License-Identifier: Apache-2.0
//
// In Envoy's place: accepts any configuration, opens no stream and does nothing, so that a measurement's own client is
// the only one behind an agent.
#include <unistd.h>

#include <cstdio>
#include <string_view>

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    if (argument == "--version") std::printf("\n%s  version: 0/1.0.0/Idle/RELEASE/none\n\n", argv[0]);
    if (argument == "--version" || argument == "validate") return 0;
  }
  for (;;) pause();
}
