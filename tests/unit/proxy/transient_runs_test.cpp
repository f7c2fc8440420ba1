// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/transient_runs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "../broker/loop_runner.h"
#include "base/fd.h"
#include "fake_bus.h"

namespace hawser::proxy {
namespace {

using testing::Contains;
using testing::HasSubstr;

class TransientRunsTest : public testing::Test {
 protected:
  TransientRunsTest() {
    bus_.set_events(nullptr);
    // As systemd does: a copy of the descriptor comes with the call.
    bus_.on_start = [this](const std::string& unit) {
      unit_ = unit;
      for (const auto& property : bus_.started[unit])
        if (property.name == "StandardOutputFileDescriptor")
          output_.reset(::dup(std::get<UnitDescriptor>(property.value).fd));
    };
    spec_.binary = "/bin/program";
    spec_.argv = {"/bin/program"};
  }

  // What the run answers, after `play` has been the unit.
  std::string run(const std::function<void()>& play) {
    std::string out;
    run_until_called(loop_, [&](const auto& called) {
      runs_.run(spec_, {}, [&out, called](const Result<CheckResult>& result) {
        out = result ? std::to_string(result->exit_code) + ":" + result->output : result.error().id();
        called();
      });
      play();
    });
    return out;
  }
  void say(const std::string& text) {
    ASSERT_EQ(::write(output_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void end(int code, int value) {
    UnitState change;
    change.active_state = "failed";
    change.exit_code = code;
    change.exit_value = value;
    runs_.changed(unit_, change);
  }

  AsioLoop loop_;
  FakeBus bus_;
  TransientRuns runs_{loop_, bus_};
  CheckSpec spec_;
  std::string unit_;
  UniqueFd output_;
  std::unique_ptr<Loop::Timer> wait_;
};

TEST_F(TransientRunsTest, StatusAndOutputComeThoughThePipeStaysOpen) {
  EXPECT_EQ(run([this] {
              runs_.job_removed(unit_, "done");
              say("bad bootstrap\n");
              end(CLD_EXITED, 1);
            }),
            "1:bad bootstrap\n");
}

TEST_F(TransientRunsTest, OnlyTheEndOfALongOutputIsKept) {
  spec_.keep = 5;
  EXPECT_EQ(run([this] {
              say("0123456789");
              end(CLD_EXITED, 0);
            }),
            "0:56789");
}

TEST_F(TransientRunsTest, AProgramThatCannotBeExecutedIsAnError) {
  EXPECT_EQ(run([this] {
              runs_.job_removed(unit_, "failed");
              end(CLD_EXITED, 203);
            }),
            "HWS-BR-025");
}

TEST_F(TransientRunsTest, AHangingProgramIsKilledAndReported) {
  spec_.timeout = std::chrono::milliseconds(20);
  EXPECT_EQ(run([this] {
              bus_.on_start = nullptr;
              wait_ = loop_.after(std::chrono::milliseconds(100), [this] {
                EXPECT_THAT(bus_.calls, Contains("kill " + unit_ + " 9"));
                end(CLD_KILLED, SIGKILL);
              });
            }),
            "HWS-BR-026");
}

TEST_F(TransientRunsTest, ALostConnectionIsAnAnswerToo) {
  EXPECT_EQ(run([this] { runs_.disconnected(); }), "HWS-BR-040");
}

TEST_F(TransientRunsTest, SystemdsRefusalIsPassedOn) {
  bus_.is_connected = false;
  EXPECT_EQ(run([] {}), "HWS-BR-040");
}

TEST_F(TransientRunsTest, TheNumberOfRunsIsBounded) {
  std::string last;
  for (int i = 0; i < 9; ++i)
    runs_.run(spec_, {}, [&last](const Result<CheckResult>& result) { last = result ? "ok" : result.error().id(); });
  EXPECT_EQ(last, "HWS-BR-025");
}

}  // namespace
}  // namespace hawser::proxy
