// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/fake_loop.h"
#include "base/file.h"
#include "broker/interception.h"
#include "temporary_folder.h"

namespace hawser::broker {

// Keeps the plan in memory and can refuse.
class FakeKernel final : public netfilter::Backend {
 public:
  const char* name() const override { return "fake"; }
  Status apply(const netfilter::Plan& plan) override {
    if (refuse) return *refuse;
    applied = plan;
    anchor = !somebody_takes_it;
    ++transactions;
    return {};
  }
  Result<netfilter::Observation> observe() override {
    if (blind_looks > 0 && --blind_looks == 0)
      return Error(Code::kInternal, "HWS-NF-012", "the rules changed meanwhile");
    netfilter::Observation out;
    out.rules = applied.has_value();
    out.anchor = anchor;
    out.routing = routing;
    if (applied) out.listing.digest = applied->digest;
    return out;
  }
  Status remove_rules() override {
    applied.reset();
    return {};
  }
  Status remove_anchor() override {
    anchor = false;
    return {};
  }

  std::optional<netfilter::Plan> applied;
  bool anchor = false;
  bool routing = false;
  bool somebody_takes_it = false;  // the anchor, as soon as it is there
  int transactions = 0;
  int blind_looks = 0;  // at which look from now on it can't see
  std::optional<Error> refuse;
};

class InterceptionTest : public testing::Test {
 protected:
  InterceptionTest() {
    options_.plan_path = folder_ / "plan.pb";
    options_.exempt_uids = {881, 882};
    options_.exempt_gids = {881, 882};
  }

  Interception make() {
    return {loop_,
            kernel_,
            {[] { return netfilter::Guard{}; },
             [this](netfilter::Backend&, const netfilter::Plan&) {
               return std::vector<netfilter::ProbeResult>{{"out4", probe_passes_, "because"}};
             },
             [this](std::uint16_t, std::uint16_t, std::uint32_t) { return Result<std::size_t>(connections_); },
             [](std::uint16_t) { return Result<bool>(true); },
             [this](const netfilter::Plan&) { return forget_unanswered(); }},
            options_};
  }

  // What a broker that was killed leaves in the kernel and on disk.
  std::string left_behind(std::chrono::seconds confirm, bool confirmed) {
    auto predecessor = make();
    std::string digest = digest_of(predecessor.plan({}, confirm));
    if (confirmed) {
      EXPECT_TRUE(predecessor.confirm(digest));
    }
    return digest;
  }

  PlanRecord recorded() const {
    auto record = PlanRecord::load(options_.plan_path);
    EXPECT_TRUE(record);
    return record ? *record : PlanRecord();
  }

  static std::string digest_of(const Result<Interception::Applied>& applied) {
    EXPECT_TRUE(applied) << applied.error().to_string();
    return applied ? applied->digest : std::string();
  }

  Result<std::size_t> forget_unanswered() {
    if (tracking_fails_) return Error(Code::kInternal, "HWS-NF-015", "no tracking");
    EXPECT_TRUE(kernel_.applied) << "the rules have to be there first";
    ++forgotten_;
    return std::size_t{1};
  }

  TemporaryFolder folder_;
  FakeLoop loop_;
  FakeKernel kernel_;
  Interception::Options options_;
  bool probe_passes_ = true;
  std::size_t connections_ = 0;
  int forgotten_ = 0;
  bool tracking_fails_ = false;
};

}  // namespace hawser::broker
