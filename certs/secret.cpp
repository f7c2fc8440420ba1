// SPDX-License-Identifier: Apache-2.0
#include "certs/secret.h"

#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <utility>

namespace hawser::certs {
namespace {

std::size_t whole_pages(std::size_t size) {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (size + page - 1) / page * page;
}

}  // namespace

void wipe(std::string& text) {
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

Secret::Secret(std::string text) {
  *this = copy_of(text);
  wipe(text);
}

Secret Secret::copy_of(std::string_view text) {
  Secret out;
  if (text.empty()) return out;
  void* const pages =
      ::mmap(nullptr, whole_pages(text.size()), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) std::abort();
  // Best effort: an old kernel that knows no MADV_DONTDUMP still has RLIMIT_CORE and PR_SET_DUMPABLE
  // (main_hawserd.cpp).
  (void)::madvise(pages, whole_pages(text.size()), MADV_DONTDUMP);
  out.pages_ = static_cast<char*>(pages);
  out.size_ = text.size();
  std::memcpy(out.pages_, text.data(), text.size());
  return out;
}

Secret::Secret(Secret&& other) noexcept
    : pages_(std::exchange(other.pages_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  clear();
  pages_ = std::exchange(other.pages_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

void Secret::clear() {
  if (pages_ == nullptr) return;
  ::explicit_bzero(pages_, size_);
  ::munmap(pages_, whole_pages(size_));
  pages_ = nullptr;
  size_ = 0;
}

}  // namespace hawser::certs
