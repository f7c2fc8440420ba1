// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

// What: a file as a chain of frames: 8 bytes of magic, then a frame after the other: length (4 bytes, little endian),
// checksum (4 bytes), payload. The checksum is a CRC-32 (RFC 1952, 8) over everything before it but the checksums, its
// own payload included, so that a changed bit, a lost, doubled or exchanged frame is noticed at the frame where it is,
// and the last one is the file's. Threading: values. Failure: HWS-SN-002 for bytes that aren't such a chain.
namespace hawser::xds::snapshot {

class Crc32 {
 public:
  void add(std::string_view bytes);
  std::uint32_t value() const { return value_; }

 private:
  std::uint32_t value_ = 0;
};

class FrameWriter {
 public:
  // `magic` has 8 characters; the last one is the format's version.
  explicit FrameWriter(std::string_view magic);
  void add(std::string_view payload);
  std::uint32_t checksum() const { return crc_.value(); }
  std::string finish() && { return std::move(bytes_); }
  // What has been built and not been cleared yet, for who writes a file piece by piece.
  std::string_view pending() const { return bytes_; }
  void clear_pending() { bytes_.clear(); }

 private:
  std::string bytes_;
  Crc32 crc_;
};

class FrameReader {
 public:
  FrameReader(std::string_view magic, std::string_view bytes);
  // Before the first next().
  Status open();
  bool at_end() const { return rest_.empty(); }
  Result<std::string_view> next();
  std::uint32_t checksum() const { return crc_.value(); }

 private:
  Error damaged(const std::string& why) const;

  std::string_view magic_;
  std::string_view rest_;
  std::size_t size_;
  Crc32 crc_;
};

}  // namespace hawser::xds::snapshot
