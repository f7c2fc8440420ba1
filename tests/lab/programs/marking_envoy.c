// SPDX-License-Identifier: Apache-2.0
// Passes for an Envoy, VERSION and HOT_RESTART_VERSION, that gets no further than the mark which a start sets in its
// family's shared memory (agent/proxy/shared_mark.h): then it waits for its end. By itself, since the sandbox of a unit
// has no other program.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLAGS_AT = 96, INITIALIZING = 1 };

static int mark(unsigned long base_id) {
  char path[64];
  unsigned long flags = 0;
  snprintf(path, sizeof(path), "/dev/shm/envoy_shared_memory_%lu", base_id * 10);
  const int fd = open(path, O_RDWR);
  if (fd < 0 || pread(fd, &flags, sizeof(flags), FLAGS_AT) != sizeof(flags)) return -1;
  flags |= INITIALIZING;
  return pwrite(fd, &flags, sizeof(flags), FLAGS_AT) == sizeof(flags) ? 0 : -1;
}

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    // the latter is never said to one that is to serve
    if (strcmp(argv[i], "--mode") == 0 || strcmp(argv[i], "--disable-hot-restart") == 0) return 0;
    if (strcmp(argv[i], "--version") == 0) return puts("envoy  version: 0/" VERSION "/Clean/RELEASE/BoringSSL") < 0;
    if (strcmp(argv[i], "--hot-restart-version") == 0) return puts(HOT_RESTART_VERSION) < 0;
  }
  for (int i = 1; i + 1 < argc; ++i)
    if (strcmp(argv[i], "--base-id") == 0 && mark(strtoul(argv[i + 1], NULL, 10)) != 0) {
      perror("the shared memory");
      return 1;
    }
  for (;;) pause();
}
