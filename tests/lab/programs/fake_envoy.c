// SPDX-License-Identifier: Apache-2.0
// Passes for the Envoy REAL as far as it is told to: INVALID refuses each bootstrap, otherwise it never serves.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char** argv) {
  int asked = 0;
  for (int i = 1; i < argc; ++i) {
    if (strcmp(argv[i], "--mode") == 0) {
#ifdef INVALID
      fprintf(stderr, "refused for uid %d\n", (int)getuid());
      return 1;
#endif
      asked = 1;
    }
    asked = asked || strstr(argv[i], "version") != NULL;
  }
  if (asked) execv(REAL, argv);
  for (;;) pause();
}
