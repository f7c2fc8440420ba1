// SPDX-License-Identifier: Apache-2.0
#include "relay_feed.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "xds/types.h"

namespace hawser {
namespace {

constexpr std::size_t kMaxNamed = 3;

std::string words(const std::string& type) {
  constexpr std::pair<std::string_view, std::string_view> kKnown[] = {{xds::kClusterType, "clusters (CDS)"},
                                                                      {xds::kEndpointType, "endpoints (EDS)"},
                                                                      {xds::kListenerType, "listeners (LDS)"},
                                                                      {xds::kRouteType, "routes (RDS)"}};
  for (const auto& [known, text] : kKnown)
    if (type == known) return std::string(text);
  return xds::short_name(type);
}

void add(std::string& list, const std::string& item) {
  list += (list.empty() ? "" : ", ") + item;
}

}  // namespace

std::string missing_text(const xds::Outlook& outlook) {
  std::string out;
  for (const auto& missing : outlook.missing) {
    std::string item = words(missing.type);
    std::string names;
    for (std::size_t i = 0; i < missing.names.size() && i < kMaxNamed; ++i) add(names, missing.names[i]);
    if (missing.names.size() > kMaxNamed) names += " and " + std::to_string(missing.names.size() - kMaxNamed) + " more";
    if (!names.empty()) item += " of " + names;
    add(out, item);
  }
  return out;
}

std::string rejected_text(const xds::Outlook& outlook) {
  std::string out;
  for (const auto& type : outlook.rejected) add(out, words(type));
  return out;
}

void RelayFeed::snapshot(std::function<void(Result<Snapshot>)> done) {
  relay_.outlook([this, alive = std::weak_ptr(alive_), done = std::move(done)](const xds::Outlook& outlook) {
    if (alive.expired()) return;
    Snapshot out{missing_text(outlook), rejected_text(outlook), outlook.settled};
    if (!has_certificate_()) add(out.missing, "a certificate (SDS)");
    done(std::move(out));
  });
}

void RelayFeed::hold_listeners(const std::string& generation, std::chrono::milliseconds limit,
                               std::function<void(Status)> done) {
  const auto bounded = std::min<std::chrono::milliseconds>(limit, xds::HoldBook::kMaxTime);
  relay_.hold(
      generation, xds::Hold::What::kListeners, bounded, "it is looked at before it takes over",
      [alive = std::weak_ptr(alive_), done = std::move(done)](const Result<std::size_t>& held) {
        if (!alive.expired()) done(held ? Status() : Status(held.error()));
      },
      xds::Hold::By::kHandOver);
}

void RelayFeed::release_listeners(const std::string& generation) {
  relay_.release(
      generation,
      [generation](const Status& released) {
        if (!released) log::debug("nothing was held back any more", {{"generation", generation}});
      },
      xds::Hold::By::kHandOver);
}

}  // namespace hawser
