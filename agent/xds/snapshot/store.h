// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "xds/snapshot/manifest.h"
#include "xds/snapshot/records.h"

namespace hawser::xds::snapshot {

// What: the last-good snapshot in its folder: a file a type, named by the manifest, which is written last. Threading:
// blocking; on the slow worker. Failure: load() never fails: what is damaged is put aside as NAME.damaged-TIME (the
// newest kMostDamaged stay) and told in `notes` (HWS-SN-002), what can't be read now is told as HWS-SN-006 and stays.
// save(): HWS-SN-005 (larger than allowed), HWS-SN-006 (disk). Durability: a crash at any instruction leaves the
// snapshot from before or the new one; type files are never overwritten, and go when no manifest names them any more.
class Store {
 public:
  static constexpr std::size_t kMostDamaged = 4;

  using Clock = std::function<Loop::Wall()>;
  Store(std::string folder, std::size_t max_bytes, Clock clock)
      : folder_(std::move(folder)), max_bytes_(max_bytes), clock_(std::move(clock)) {}

  struct Loaded {
    std::optional<Manifest> manifest;  // without the types that were damaged
    std::vector<records::Type> types;  // whole, in the manifest's order
    std::vector<std::string> lost;     // type URLs that it named and that aren't whole
    std::vector<Error> notes;
  };
  Loaded load() const;
  // As load(), but nothing is moved: for the command line.
  Loaded inspect() const;
  // One type of the manifest, whole.
  Result<records::Type> read(const TypeFile& type) const;

  struct Change {
    struct Type {
      records::Header header;
      std::vector<records::Item> items;
    };
    std::vector<Type> changed;
    std::vector<std::string> unchanged;  // type URLs that stay as `before` has them; all others are dropped
  };
  // `next` says all but `sequence` and `types`, which follow from `before` and the change.
  Result<Manifest> save(const Manifest& before, Manifest next, const Change& change) const;
  // Everything in the folder that this library writes. May be repeated.
  Status erase() const;

 private:
  Loaded load(bool put_aside) const;
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  Error put_aside(const std::string& name, const Error& why) const;
  void sweep(const Manifest& manifest) const;
  Result<TypeFile> write_type(const Change::Type& type, std::uint64_t sequence) const;

  std::string folder_;
  std::size_t max_bytes_;
  Clock clock_;
};

}  // namespace hawser::xds::snapshot
