// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/detect.h"

#include <nftables/libnftables.h>

#include "netfilter/nft_socket.h"
#include "netfilter/xtables_revisions.h"

namespace hawser::netfilter {
namespace {

// What differs between kernels: an owner (Linux 5.12), NAT in an inet table (5.2), and the parts of our rules.
constexpr const char* kRules =
    "flags owner; counter n { }; chain o { type nat hook output priority -101; meta skuid 0 counter name \"n\" return; "
    "tcp dport 1 redirect to :1; }; ";
std::string sample(const char* family) {
  return std::string("table ") + family + " hawser_detect { " + kRules + "}";
}

Error refused(const std::string& why) {
  return {Code::kFailedPrecondition, "HWS-NF-077", why,
          "Linux 5.12 or newer with nf_tables, or the modules ip_tables and iptable_nat, are needed"};
}

std::string said(nft_ctx* context) {
  const char* text = ::nft_ctx_get_error_buffer(context);
  const std::string all = text == nullptr ? "" : text;
  const std::string line = all.substr(0, all.find('\n'));
  // "…: Error: Could not process rule: Operation not supported"
  const auto at = line.rfind(": ");
  return at == std::string::npos ? line : line.substr(at + 2);
}

}  // namespace

const char* to_string(BackendKind kind) {
  switch (kind) {
    case BackendKind::kAuto:
      return "auto";
    case BackendKind::kNftables:
      return "nftables";
    case BackendKind::kXtables:
      return "xtables";
  }
  return "unknown";
}

Result<BackendKind> parse_backend(const std::string& text) {
  for (const BackendKind kind : {BackendKind::kAuto, BackendKind::kNftables, BackendKind::kXtables})
    if (text == to_string(kind)) return kind;
  return Error(Code::kInvalidArgument, "HWS-NF-076", "\"" + text + "\" is no backend",
               "auto, nftables or xtables, by --backend or HAWSER_BACKEND (/etc/hawser/broker.env)");
}

Status nftables_usable() {
  auto opened = open_context();
  if (!opened) return opened.error();
  nft_ctx* context = opened->context;
  ::nft_ctx_buffer_output(context);
  ::nft_ctx_buffer_error(context);
  ::nft_ctx_set_dry_run(context, true);
  Status out;
  constexpr std::string_view kDenied = "not permitted";
  if (::nft_run_cmd_from_buffer(context, sample("inet").c_str()) != 0) {
    const std::string why = said(context);
    const std::string split = sample("ip") + "\n" + sample("ip6");
    if (why.find(kDenied) != std::string::npos)
      out = Error(Code::kPermissionDenied, "HWS-NF-010", "the kernel refused to change nftables: " + why,
                  "run the broker with CAP_NET_ADMIN");
    else if (::nft_run_cmd_from_buffer(context, split.c_str()) != 0)
      out = refused("the kernel refuses our kind of nftables: " + why);
  }
  ::nft_ctx_free(context);
  return out;
}

Status xtables_usable() {
  return XtRevisions().usable(Family::kIpv4);
}

Result<Detected> detect(BackendKind wanted) {
  const std::string configured = std::string(wanted == BackendKind::kAuto ? "" : "configured; ");
  Status nft;
  if (wanted != BackendKind::kXtables) {
    nft = nftables_usable();
    if (nft) return Detected{BackendKind::kNftables, configured + "the kernel accepts nftables with an owner"};
    // Who may not use the one may not use the other.
    if (wanted == BackendKind::kNftables || nft.error().code() == Code::kPermissionDenied) return nft.error();
  }
  const auto xtables = xtables_usable();
  if (xtables && wanted == BackendKind::kXtables)
    return Detected{BackendKind::kXtables, configured + "the kernel has legacy xtables"};
  if (xtables) return Detected{BackendKind::kXtables, nft.error().message()};
  if (xtables.error().code() == Code::kPermissionDenied) return xtables.error();
  if (wanted == BackendKind::kXtables) return refused(xtables.error().message());
  return refused("neither backend can be used: " + nft.error().message() + "; " + xtables.error().message());
}

}  // namespace hawser::netfilter
