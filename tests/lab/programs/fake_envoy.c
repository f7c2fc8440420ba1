// SPDX-License-Identifier: Apache-2.0
// Passes for the Envoy REAL as far as it is told to: INVALID refuses each bootstrap, GREEDY takes 4 GiB of memory for
// it, otherwise it never serves.
#include <stdio.h>
#include <stdlib.h>
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
#ifdef GREEDY
      for (int taken = 0; taken < 4096; ++taken) {
        char* block = malloc(1 << 20);
        if (block == NULL) {
          fprintf(stderr, "no memory after %d MiB\n", taken);
          return 1;
        }
        memset(block, 1, 1 << 20);
      }
#endif
      asked = 1;
    }
    // the latter is never said to one that is to serve
    asked = asked || strstr(argv[i], "version") != NULL || strcmp(argv[i], "--disable-hot-restart") == 0;
  }
  if (asked) execv(REAL, argv);
  for (;;) pause();
}
