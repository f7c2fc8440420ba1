// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
#include "proxy/transient_runs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <csignal>
#include <random>

#include "base/fd.h"

namespace hawser::proxy {
namespace {

namespace asio = boost::asio;

constexpr std::size_t kMaxRuns = 8;
constexpr int kExecFailed = 203;
constexpr int kMaxDrain = 64;
// Over the program's own limit, which systemd keeps: then this is only for a systemd that doesn't answer.
constexpr std::chrono::milliseconds kGrace{3'000};

}  // namespace

struct TransientRuns::Run {
  explicit Run(asio::io_context& context) : output(context) {}

  std::string unit;
  std::string binary;
  std::size_t keep = 0;
  Done done;
  asio::posix::stream_descriptor output;
  UniqueFd far_end;  // until systemd has it
  std::unique_ptr<Loop::Timer> limit;
  std::unique_ptr<Loop::Timer> grace;
  UnitState state;
  std::string text;
  std::string failure;  // of the start job
  bool timed_out = false;
  char chunk[4096] = {};

  void take(std::size_t count) {
    text.append(chunk, count);
    if (text.size() > keep) text.erase(0, text.size() - keep);
  }
};

TransientRuns::TransientRuns(AsioLoop& loop, SystemdBus& bus) : loop_(loop), bus_(bus) {
  // A unit of this name that another broker left behind would be in the way.
  tag_ = std::to_string(std::random_device{}());
}

TransientRuns::~TransientRuns() = default;

TransientRuns::RunPtr TransientRuns::find(const std::string& unit) const {
  const auto at = runs_.find(unit);
  return at == runs_.end() ? nullptr : at->second;
}

void TransientRuns::run(CheckSpec spec, std::vector<std::string> writable, Done done) {
  if (runs_.size() >= kMaxRuns)
    return done(Error(Code::kResourceExhausted, "HWS-BR-025",
                      std::to_string(runs_.size()) + " programs run as the proxy's user already", "try again later"));
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return done(errno_error(errno, "HWS-BR-025", "can't make a pipe"));
  auto run = std::make_shared<Run>(loop_.context());
  run->far_end.reset(ends[1]);
  UniqueFd near_end(ends[0]);
  boost::system::error_code error;
  run->output.assign(near_end.get(), error);
  if (!error) {
    near_end.release();
    run->output.non_blocking(true, error);
  }
  if (error) return done(Error(Code::kInternal, "HWS-BR-025", "can't watch a pipe: " + error.message()));
  run->unit = "hawser-proxy-run-" + tag_ + "-" + std::to_string(next_++) + ".service";
  run->binary = spec.binary;
  run->keep = spec.keep;
  run->done = std::move(done);

  ShortRun wanted;
  wanted.binary = std::move(spec.binary);
  wanted.argv = std::move(spec.argv);
  wanted.writable = std::move(writable);
  wanted.uid = spec.uid;
  wanted.gid = spec.gid;
  wanted.output = ends[1];
  wanted.errors_too = spec.errors_too;
  wanted.limit = spec.timeout;
  wanted.memory = spec.memory;
  wanted.permits = spec.permits;
  runs_[run->unit] = run;
  const std::weak_ptr<Run> weak = run;
  run->limit = loop_.after(spec.timeout, [this, weak] {
    const auto late = weak.lock();
    if (!late) return;
    late->timed_out = true;
    bus_.kill(late->unit, SIGKILL, [](const Status&) {});
    late->grace = loop_.after(kGrace, [this, weak] {
      if (const auto stuck = weak.lock()) finish(stuck);
    });
  });
  read(run);
  bus_.start(run->unit, short_run_properties(wanted), [this, weak](const Status& started) {
    const auto asked = weak.lock();
    if (!asked) return;
    asked->far_end.reset();
    if (!started) answer(asked, started.error());
  });
}

void TransientRuns::read(const RunPtr& run) {
  run->output.async_read_some(asio::buffer(run->chunk),
                              [this, weak = std::weak_ptr(run)](const boost::system::error_code& error, std::size_t n) {
                                const auto reading = weak.lock();
                                if (!reading || error) return;
                                reading->take(n);
                                read(reading);
                              });
}

void TransientRuns::changed(const std::string& unit, const UnitState& change) {
  const auto run = find(unit);
  if (!run) return;
  run->state.merge(change);
  if (run->state.over() && (run->state.wait_status() || !run->failure.empty())) finish(run);
}

void TransientRuns::removed(const std::string& unit) {
  if (const auto run = find(unit)) finish(run);
}

void TransientRuns::job_removed(const std::string& unit, const std::string& result) {
  const auto run = find(unit);
  if (!run || result == "done") return;
  run->failure = result;
  // The unit's own last words may follow, or have come.
  if (run->state.over()) finish(run);
}

void TransientRuns::disconnected() {
  // How they ended will never be known.
  const auto runs = runs_;
  for (const auto& [unit, run] : runs)
    answer(run, Error(Code::kUnavailable, "HWS-BR-040", "the connection to systemd was lost meanwhile", "try again"));
}

void TransientRuns::finish(const RunPtr& run) {
  // The process is gone, so all that it wrote is in the pipe. The end of the pipe may come much later: systemd has it
  // open as well.
  boost::system::error_code error;
  for (int i = 0; i < kMaxDrain && !error; ++i)
    if (const auto n = run->output.read_some(asio::buffer(run->chunk), error); !error) run->take(n);
  if (run->timed_out)
    return answer(run, Error(Code::kDeadlineExceeded, "HWS-BR-026", run->binary + " didn't end in time",
                             "try again when the host is less busy"));
  const auto status = run->state.wait_status();
  if (!status || (!run->failure.empty() && run->state.exit_value.value_or(0) >= kExecFailed - 3))
    return answer(run, Error(Code::kInternal, "HWS-BR-025",
                             "can't start " + run->binary + ": " +
                                 (status ? "systemd says " + describe_exit(*run->state.exit_value)
                                         : "its start ended as \"" + run->failure + "\""),
                             "check that the file is there and may be executed; see the journal"));
  answer(run, CheckResult{*run->state.exit_value, std::move(run->text)});
}

void TransientRuns::answer(const RunPtr& run, Result<CheckResult> result) {
  if (runs_.erase(run->unit) == 0) return;
  boost::system::error_code ignored;
  run->output.close(ignored);
  run->limit.reset();
  run->grace.reset();
  if (const auto done = std::exchange(run->done, nullptr)) done(std::move(result));
}

}  // namespace hawser::proxy
