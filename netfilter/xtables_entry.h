// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "netfilter/emit_xtables.h"

// What: one rule of xtables in the kernel's binary form: ipt_entry or ip6t_entry, matches, target (linux/netfilter*/,
// with the revisions of xtables_revisions.h). Built in a buffer, since the structures end in flexible arrays; each part
// is aligned to 8 bytes (XT_ALIGN). Pure. Threading, failure: none.
namespace hawser::netfilter {

class EntryBytes {
 public:
  explicit EntryBytes(std::size_t size = 0) : size_(size), words_((size + 7) / 8) {}

  unsigned char* data() { return reinterpret_cast<unsigned char*>(words_.data()); }
  const unsigned char* data() const { return reinterpret_cast<const unsigned char*>(words_.data()); }
  std::size_t size() const { return size_; }
  void append(const void* bytes, std::size_t size);
  bool operator==(const EntryBytes&) const = default;

 private:
  std::size_t size_;
  std::vector<std::uint64_t> words_;
};

// Of what comes in several, the kernel's newest: iptables-save shows others wrongly.
struct Revisions {
  int cgroup = 2;    // or 1
  int connmark = 2;  // or 1
  int ct = 2;        // or 1
};
struct EntryOptions {
  Family family = Family::kIpv4;
  bool outgoing = true;
  Revisions revisions = {};
};
// A standard target has its name ("RETURN", a chain's) and no verdict yet: libiptc finds that.
EntryBytes compose(const XtEntry& entry, const EntryOptions& options);

// What the kernel lists, in the form of compose(): without counters, positions and pointers. `target` names a standard
// target; empty otherwise.
EntryBytes canonical(const unsigned char* entry, Family family, const std::string& target);
// The comment match's text, or nothing.
std::string comment_of(const unsigned char* entry, Family family);

}  // namespace hawser::netfilter
