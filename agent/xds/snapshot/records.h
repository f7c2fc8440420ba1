// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

// What: one type of the snapshot as the bytes of a file, and back. Threading: pure functions. Failure: HWS-SN-002, with
// the byte at which it isn't what was written: any changed bit, any cut, any exchange of records.
namespace hawser::xds::snapshot::records {

struct Header {
  std::string type_url;
  std::string system_version;  // the plane's, often empty
  std::string node_identity;
  Loop::Wall accepted_at;
  bool wildcard = false;  // all of this type was asked for
};

struct Resource {
  std::string name;
  std::string version;  // the plane's
  std::string body;     // a serialised Resource of xDS without its version, as the relay's cache holds it
};

struct Type {
  Header header;
  std::vector<Resource> resources;
  std::uint64_t checksum = 0;  // of the whole file
};

// A resource that somebody else owns: what is written isn't copied before.
struct Item {
  std::string name;
  std::string_view version;
  std::string_view body;
  std::shared_ptr<const void> owner;
};

struct Written {
  std::uint64_t checksum = 0;
  std::uint64_t bytes = 0;
};
// Takes the file's next bytes; its failure ends the writing.
using Sink = std::function<Status(std::string_view)>;

// Safe for any bytes; needs memory in proportion to them.
Result<Type> parse(std::string_view bytes);
// Piece by piece: the whole isn't in memory.
Result<Written> write(const Header& header, const std::vector<Item>& items, const Sink& sink);

}  // namespace hawser::xds::snapshot::records
