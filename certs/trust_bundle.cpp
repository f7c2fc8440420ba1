// SPDX-License-Identifier: Apache-2.0
#include "certs/trust_bundle.h"

#include <algorithm>

#include "certs/x509.h"

namespace hawser::certs {
namespace {

Error unusable(const std::string& source, const Error& why) {
  Error error(Code::kInvalidArgument, "HWS-TR-001", "the roots of " + source + " can't be used; those before them stay",
              "correct them at their source; hawser trust show tells what is in force");
  error.because(why);
  return error;
}

Result<std::vector<TrustedRoot>> read(const std::string& source, const std::string& pem) {
  auto split = split_bundle(pem);
  if (!split) return unusable(source, split.error());
  std::vector<TrustedRoot> out;
  for (auto& one : *split) {
    auto facts = describe_bundle(one);
    if (!facts) return unusable(source, facts.error());
    const auto& fact = facts->front();
    out.push_back({std::move(one), fact.sha256, fact.subject, fact.not_before, fact.not_after, {}, std::nullopt});
  }
  return out;
}

}  // namespace

TrustBundle::TrustBundle(Options options, TrustState state)
    : options_(std::move(options)), dropped_(std::move(state.dropped)), of_ca_(std::move(state.of_ca)) {
  for (auto& root : state.roots) {
    const std::string sha256 = root.sha256;
    roots_.emplace(sha256, std::move(root));
  }
}

Result<bool> TrustBundle::set(const std::string& source, const std::string& pem, Loop::Wall now) {
  auto fresh = read(source, pem);
  if (!fresh) return fresh.error();
  std::set<std::string> still;
  for (const auto& root : *fresh) still.insert(root.sha256);
  if (source != kFromCa) {
    const auto stays = [&](const auto& item) {
      const auto& senders = item.second.sources;
      return still.count(item.first) == 0 && !senders.empty() && !(senders.size() == 1 && senders.count(source) > 0);
    };
    const auto others = static_cast<std::size_t>(std::count_if(roots_.begin(), roots_.end(), stays));
    if (others + still.size() > kMaxRoots)
      return Error(Code::kResourceExhausted, "HWS-TR-002",
                   "with those of " + source + " there would be " + std::to_string(others + still.size()) +
                       " roots, and " + std::to_string(kMaxRoots) + " is the limit; those before them stay",
                   "leave out what nobody needs");
  }
  const std::string before = this->pem();
  for (auto& root : *fresh) {
    if (source == kFromCa) remember(root.sha256);
    auto& known = roots_.try_emplace(root.sha256, root).first->second;
    known.sources.insert(source);
    known.retired_until.reset();
  }
  retire(source, still, now);
  return before != this->pem();
}

bool TrustBundle::forget(const std::string& source, Loop::Wall now) {
  const std::string before = pem();
  retire(source, {}, now);
  return before != pem();
}

void TrustBundle::retire(const std::string& source, const std::set<std::string>& still, Loop::Wall now) {
  std::size_t retired = 0;
  for (auto& [sha256, root] : roots_) {
    if (still.count(sha256) == 0 && root.sources.erase(source) > 0 && root.sources.empty())
      root.retired_until = now + options_.overlap;
    if (root.retired_until) ++retired;
  }
  // Whoever changes its roots each minute doesn't fill the memory: the oldest go first.
  while (retired > kMaxRoots) {
    const auto first = std::min_element(roots_.begin(), roots_.end(), [](const auto& left, const auto& right) {
      const auto end = [](const TrustedRoot& root) { return root.retired_until.value_or(Loop::Wall::max()); };
      return end(left.second) < end(right.second);
    });
    roots_.erase(first);
    --retired;
  }
  advance(now);
}

bool TrustBundle::advance(Loop::Wall now) {
  return std::erase_if(roots_, [&](const auto& item) {
           const TrustedRoot& root = item.second;
           return root.retired_until && (*root.retired_until <= now || root.not_after <= now || excluded(root.sha256));
         }) > 0;
}

std::optional<Loop::Wall> TrustBundle::deadline() const {
  std::optional<Loop::Wall> out;
  for (const auto& [sha256, root] : roots_) {
    if (!root.retired_until) continue;
    const auto end = std::min(*root.retired_until, root.not_after);
    out = out ? std::min(*out, end) : end;
  }
  return out;
}

bool TrustBundle::knows(const std::string& sha256) const {
  return roots_.count(sha256) > 0;
}

bool TrustBundle::excluded(const std::string& sha256) const {
  return dropped_.count(sha256) > 0 ||
         std::find(options_.exclude.begin(), options_.exclude.end(), sha256) != options_.exclude.end();
}

bool TrustBundle::drop(const std::string& sha256) {
  const bool was_trusted = knows(sha256) && !excluded(sha256);
  dropped_.insert(sha256);
  const auto found = roots_.find(sha256);
  if (found != roots_.end() && found->second.retired_until) roots_.erase(found);
  return was_trusted;
}

bool TrustBundle::allow(const std::string& sha256) {
  const bool was_dropped = dropped_.erase(sha256) > 0;
  return was_dropped && knows(sha256) && !excluded(sha256);
}

std::string TrustBundle::pem() const {
  std::string out;
  for (const auto& [sha256, root] : roots_)
    if (!excluded(sha256)) out += root.pem;
  return out;
}

std::vector<TrustedRoot> TrustBundle::roots() const {
  std::vector<TrustedRoot> out;
  for (const auto& [sha256, root] : roots_) out.push_back(root);
  return out;
}

std::set<std::string> TrustBundle::sources() const {
  std::set<std::string> out;
  for (const auto& [sha256, root] : roots_) out.insert(root.sources.begin(), root.sources.end());
  return out;
}

TrustState TrustBundle::state() const {
  return {roots(), dropped_, of_ca_};
}

void TrustBundle::remember(const std::string& sha256) {
  if (std::find(of_ca_.begin(), of_ca_.end(), sha256) != of_ca_.end()) return;
  of_ca_.push_back(sha256);
  if (of_ca_.size() > kMaxRemembered) of_ca_.erase(of_ca_.begin());
}

std::string TrustBundle::server_roots(const std::string& pinned) const {
  const auto own = read("the configuration", pinned);
  if (!own) return pinned;
  const auto of_ca = [&](const std::string& sha256) {
    return std::find(of_ca_.begin(), of_ca_.end(), sha256) != of_ca_.end();
  };
  std::string out;
  std::set<std::string> taken;
  bool of_mesh = false;
  for (const auto& root : *own) {
    of_mesh = of_mesh || of_ca(root.sha256);
    if (excluded(root.sha256) || !taken.insert(root.sha256).second) continue;
    out += root.pem;
  }
  for (const auto& [sha256, root] : roots_) {
    const bool ours = root.sources.count(kFromCa) > 0 || (root.retired_until && of_ca(sha256));
    if (of_mesh && ours && !excluded(sha256) && taken.insert(sha256).second) out += root.pem;
  }
  return out;
}

}  // namespace hawser::certs
