// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "netfilter/nft_backend.h"

#include <nftables/libnftables.h>

#include <algorithm>

#include "netfilter/emit_nft.h"

namespace hawser::netfilter {
namespace {

bool mentions(const std::string& text, std::string_view what) {
  return text.find(what) != std::string::npos;
}

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// libnftables tells the kernel's errno only as text.
Error explain(const std::string& said) {
  const std::string line = first_line(said);
  if (mentions(said, "Operation not permitted"))
    return {Code::kPermissionDenied, "HWS-NF-010", "the kernel refused to change nftables: " + line,
            "run the broker with CAP_NET_ADMIN; if another hawser-broker owns table inet hawser, stop that one"};
  if (mentions(said, "Operation not supported") || mentions(said, "Protocol not supported") ||
      mentions(said, "Invalid argument"))
    return {Code::kFailedPrecondition, "HWS-NF-011", "the kernel lacks a part of nftables that is needed: " + line,
            "Linux 5.12 or newer with nf_tables, nft_chain_nat, nft_redir and nft_fib_inet is needed"};
  if (mentions(said, "No such file or directory"))
    return {Code::kNotFound, "HWS-NF-011", "nftables doesn't know a name: " + line,
            "Linux 5.12 or newer with nf_tables, nft_chain_nat, nft_redir and nft_fib_inet is needed"};
  return {Code::kInternal, "HWS-NF-012", "nftables refused the transaction: " + line,
          "nothing was changed; report this"};
}

std::size_t rules_of(const Plan& plan, Hook hook) {
  return static_cast<std::size_t>(
      std::count_if(plan.rules.begin(), plan.rules.end(), [hook](const Rule& rule) { return rule.hook == hook; }));
}

}  // namespace

Result<std::unique_ptr<NftBackend>> NftBackend::make() {
  nft_ctx* context = ::nft_ctx_new(NFT_CTX_DEFAULT);
  if (context == nullptr)
    return Error(Code::kInternal, "HWS-NF-011", "libnftables can't open a netlink socket",
                 "check that the kernel has nf_tables");
  if (::nft_ctx_buffer_output(context) != 0 || ::nft_ctx_buffer_error(context) != 0) {
    ::nft_ctx_free(context);
    return Error(Code::kInternal, "HWS-NF-012", "libnftables can't buffer its output");
  }
  // Numbers instead of names, so that nothing depends on /etc/passwd or /etc/services.
  ::nft_ctx_output_set_flags(context, NFT_CTX_OUTPUT_NUMERIC_ALL);
  return std::unique_ptr<NftBackend>(new NftBackend(context));
}

NftBackend::~NftBackend() {
  ::nft_ctx_free(context_);
}

Result<std::string> NftBackend::run(const std::string& commands) {
  const int rc = ::nft_run_cmd_from_buffer(context_, commands.c_str());
  // Fetching a buffer also empties it, so both are fetched each time.
  const char* output = ::nft_ctx_get_output_buffer(context_);
  const char* error = ::nft_ctx_get_error_buffer(context_);
  if (rc != 0) return explain(error == nullptr ? "" : error);
  return std::string(output == nullptr ? "" : output);
}

Result<std::string> NftBackend::list(const std::string& table) {
  auto listed = run("list table inet " + table);
  if (!listed && listed.error().code() == Code::kNotFound) return std::string();
  return listed;
}

Status NftBackend::apply(const Plan& plan) {
  auto before = list(kTable);
  if (!before) return before.error();
  const Existing existing = before->empty() ? Existing::kNothing : Existing::kRules;
  if (auto applied = run(emit_nft(plan, existing)); !applied) return applied.error();
  auto now = observe();
  if (!now) return now.error();
  const bool same = now->rules && now->anchor && now->listing.digest == plan.digest &&
                    now->listing.output_rules == rules_of(plan, Hook::kOutput) &&
                    now->listing.prerouting_rules == rules_of(plan, Hook::kPrerouting);
  if (same) return {};
  return Error(Code::kAborted, "HWS-NF-013", "the kernel doesn't list the rules that were applied",
               "another program changes nftables at the same time; look with `nft monitor`");
}

Result<Observation> NftBackend::observe() {
  auto rules = list(kTable);
  if (!rules) return rules.error();
  auto anchor = list(kAnchorTable);
  if (!anchor) return anchor.error();
  Observation out;
  out.rules = !rules->empty();
  out.anchor = !anchor->empty();
  out.listing = parse_listing(*rules);
  out.text = *rules + *anchor;
  return out;
}

Status NftBackend::remove_rules() {
  auto listed = list(kTable);
  if (!listed) return listed.error();
  if (listed->empty()) return {};
  if (auto removed = run(emit_remove_rules()); !removed) return removed.error();
  return {};
}

Status NftBackend::remove_anchor() {
  auto listed = list(kAnchorTable);
  if (!listed) return listed.error();
  if (listed->empty()) return {};
  if (auto removed = run(emit_remove_anchor()); !removed) return removed.error();
  return {};
}

}  // namespace hawser::netfilter
