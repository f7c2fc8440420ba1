// SPDX-License-Identifier: Apache-2.0
#include "registration/refusal.h"

#include <initializer_list>
#include <string_view>

namespace hawser::registration {
namespace {

bool says(const std::string& message, std::initializer_list<std::string_view> all) {
  for (const auto part : all)
    if (message.find(part) == std::string::npos) return false;
  return true;
}

}  // namespace

std::optional<Error> explain_refusal(Code code, const std::string& message, const Applicant& who) {
  const std::string group = "WorkloadGroup " + who.ns + "/" + who.group;
  const std::string identity = who.ns + "/" + who.service_account;
  const auto refused = [&](const char* id, const std::string& what, const std::string& fix) {
    return std::optional<Error>(Error(code, id, what, fix).because(Error(code, "", message)));
  };
  if (says(message, {"cannot find WorkloadGroup"}) || says(message, {"no workload group"}))
    return refused("HWS-RG-003", "the control plane knows no " + group,
                   "create it, or correct workload.group and mesh.namespace");
  if (says(message, {"service account mismatch"}) || says(message, {"auto-registration", "of service account"}))
    return refused("HWS-RG-004", "the " + group + " is for another service account than this host's, " + identity,
                   "make the bundle anew from that group, or correct the group's template.serviceAccount");
  if (says(message, {"WorkloadEntry", "namespace mismatch"}) || code == Code::kPermissionDenied)
    return refused("HWS-RG-005", "the control plane refuses this identity (" + identity + ") as a member of " + group,
                   "namespace and service account of the bundle, the token and the group must be the same");
  if (says(message, {"requires a verified identity"}))
    return refused("HWS-RG-006", "the control plane can't verify who this host is, and registers nobody like that",
                   "connect to its TLS port (15012), and let it demand certificates or tokens");
  if (says(message, {"error creating WorkloadEntry"}) || says(message, {"failed updating WorkloadEntry"}))
    return refused("HWS-RG-007", "the control plane couldn't write this host's WorkloadEntry; it is tried again",
                   "see the control plane's log: is its API server well, may it write WorkloadEntries?");
  if (says(message, {"must correspond to an existing WorkloadEntry"}))
    return refused("HWS-RG-009", "the WorkloadEntry that workload.metadata.WORKLOAD_ENTRY names doesn't exist",
                   "create it, or set workload.group to let the control plane do so");
  return std::nullopt;
}

}  // namespace hawser::registration
