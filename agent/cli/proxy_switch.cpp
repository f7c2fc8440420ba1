// SPDX-License-Identifier: Apache-2.0
#include "cli/proxy_switch.h"

#include <cstdio>

#include "binaries/collect.h"
#include "cli/proxy.h"

namespace hawser::cli {
namespace {

using proxy::BinaryFolder;
using proxy::BinaryLink;

struct Links {
  std::string current;
  std::string previous;
};

Links links_of(const BinaryFolder& store) {
  return {store.target(BinaryLink::kCurrent), store.target(BinaryLink::kPrevious)};
}

Status use(const BinaryFolder& store, const std::string& sha256) {
  const auto held = binaries::lock(store);
  if (!held) return held.error();
  return binaries::use(store, sha256);
}

Status restore(const BinaryFolder& store, const Links& before, const std::string& tried) {
  const auto held = binaries::lock(store);
  if (!held) return held.error();
  // Somebody else has chosen meanwhile, the broker perhaps: not ours to change.
  if (store.target(BinaryLink::kCurrent) != tried || before.current.empty()) return {};
  if (auto pointed = store.point(BinaryLink::kCurrent, before.current); !pointed) return pointed;
  if (before.previous.empty()) return store.unlink(BinaryLink::kPrevious);
  return store.point(BinaryLink::kPrevious, before.previous);
}

void go_back(const BinaryFolder& store, const Links& before, const std::string& tried) {
  if (before.current == tried) return;
  if (auto back = restore(store, before, tried); !back) return warn(back.error().to_string());
  warn("current is " + binaries::short_digest(store.target(BinaryLink::kCurrent)) + " again, which served before");
}

}  // namespace

void switch_to(Context& context, const std::string& sha256, const HandOverOptions& options) {
  const auto timeout = read_wait(context, "--timeout", options.timeout);
  if (!timeout) return;
  const auto store = binary_store(context);
  const Links before = links_of(store);
  if (!options.plan)
    if (auto used = use(store, sha256); !used) return fail(context, used.error());
  const auto outcome = hand_over(context, options, *timeout, sha256);
  if (outcome.answer) {
    if (auto printed = print_hand_over(options, *outcome.answer); !printed) fail(context, printed.error());
    return;
  }
  if (!options.plan) {
    if (outcome.open)
      warn("hawserd goes on with it; hawser status shows the outcome");
    else if (outcome.nothing_runs())
      warn(binaries::short_digest(sha256) + " is current: the next start uses it");
    else
      go_back(store, before, sha256);
  }
  fail(context, outcome.answer.error());
}

}  // namespace hawser::cli
