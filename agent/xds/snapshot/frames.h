// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/crc.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

// What: a file as a chain of frames: 8 bytes of magic, then a frame after the other: length (4 bytes, little endian),
// checksum (8 bytes), payload. The checksum is a CRC-64 (ECMA-182 polynomial, reflected) over everything before it but
// the checksums, its own payload included, so that a changed bit, a lost, doubled or exchanged frame is noticed at the
// frame where it is, and the last one is the file's.
// Threading: values. Failure: HWS-SN-002 for bytes that aren't such a chain.
namespace hawser::xds::snapshot {

using Crc64 = boost::crc_optimal<64, 0x42F0E1EBA9EA3693ULL, ~0ULL, ~0ULL, true, true>;

class FrameWriter {
 public:
  // `magic` has 8 characters; the last one is the format's version.
  explicit FrameWriter(std::string_view magic);
  void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
  void add(std::string_view payload);
  std::uint64_t checksum() const { return crc_.checksum(); }
  std::size_t size() const { return bytes_.size(); }
  std::string finish() && { return std::move(bytes_); }

 private:
  std::string bytes_;
  Crc64 crc_;
};

class FrameReader {
 public:
  FrameReader(std::string_view magic, std::string_view bytes);
  // Before the first next().
  Status open();
  bool at_end() const { return rest_.empty(); }
  Result<std::string_view> next();
  std::uint64_t checksum() const { return crc_.checksum(); }

 private:
  Error damaged(const std::string& why) const;

  std::string_view magic_;
  std::string_view rest_;
  std::size_t size_;
  Crc64 crc_;
};

}  // namespace hawser::xds::snapshot
