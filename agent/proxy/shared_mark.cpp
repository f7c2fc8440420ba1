// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/shared_mark.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <cstdio>

#include "base/fd.h"

namespace hawser::proxy {
namespace {

constexpr std::uint64_t kVersion = 11;
constexpr std::uint64_t kInitializing = 1;

// Envoy's SharedMemory, as it has been since 1.13: 104 bytes on x86-64.
struct Layout {
  std::uint64_t size;
  std::uint64_t version;
  pthread_mutex_t log_lock;
  pthread_mutex_t access_log_lock;
  std::atomic<std::uint64_t> flags;
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

Error failed(const std::string& what) {
  return {Code::kFailedPrecondition, "HWS-BR-043", what,
          "hawser proxy restart --hand-over planned-cold needs no such repair"};
}

}  // namespace

Status clear_shared_mark(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return failed("can't open " + path);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size != sizeof(Layout))
    return failed(path + " has another size than is known");
  void* mapped = ::mmap(nullptr, sizeof(Layout), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) return failed("can't map " + path);
  auto& shared = *static_cast<Layout*>(mapped);
  const bool known = shared.size == sizeof(Layout) && shared.version == kVersion;
  if (known) shared.flags.fetch_and(~kInitializing);
  ::munmap(mapped, sizeof(Layout));
  return known ? Status() : Status(failed(path + " is of another version than is known"));
}

int clear_shared_mark_program(const char* path) {
  const Status cleared = clear_shared_mark(path);
  if (!cleared) std::printf("%s\n", cleared.error().message().c_str());
  return cleared ? 0 : 1;
}

}  // namespace hawser::proxy
