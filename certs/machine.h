// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

// What: which machine an identity was made on, so that a copy of its disk is noticed: a cloned image, a snapshot that
// was started beside the original. `id` is a digest of machine-id(5), which must not be told to others; `instance` is
// the platform's: cloud-init's (/var/lib/cloud/data/instance-id), or of EC2's firmware (DMI's board asset tag, "i-…").
// Threading: blocking, three small files. Failure: what isn't known is empty. A machine id in memory alone, over a file
// that couldn't be written (machine-id(5)), isn't known: it's another one after each boot.
namespace hawser::certs {

struct Machine {
  std::string id;
  std::string instance;
  std::string boot{};  // proc_sys_kernel(5), random/boot_id: tells a restart of ours from one of the host

  bool operator==(const Machine&) const = default;
};

// The platform's word decides, where both have it: a host may get a new machine id, and a clone often keeps the old
// one. What only one of them knows says nothing.
bool are_same(const Machine& a, const Machine& b);

// `root` is in front of each path.
Machine observe_machine(const std::string& root = {});

}  // namespace hawser::certs
