// SPDX-License-Identifier: Apache-2.0
#include "proxy/counter_keeper.h"

#include <cstdio>
#include <utility>

#include "base/file.h"
#include "base/log.h"

namespace hawser::proxy {
namespace {

constexpr std::size_t kMaxFile = std::size_t{16} << 20U;

}  // namespace

// One look at all that run.
struct CounterKeeper::Round {
  std::string serving;
  std::size_t awaited = 0;
  std::optional<Error> failure;
  std::vector<std::function<void()>> done;
};

CounterKeeper::CounterKeeper(Loop& loop, SlowWorker& slow, ProxyDriver& driver, Metrics& metrics, Options options)
    : loop_(loop), slow_(slow), driver_(driver), metrics_(metrics), options_(std::move(options)) {}
CounterKeeper::~CounterKeeper() = default;

void CounterKeeper::restore() {
  if (options_.path.empty() || !file::exists(options_.path)) return;
  const auto text = file::read_bounded(options_.path, kMaxFile);
  const Status restored = text ? counters_.restore(*text, options_.boot) : Status(text.error());
  ended_ = counters_.ended();
  stale_ = !counters_.empty();
  if (restored) return;
  log::warn(restored.error().to_string());
  const std::string aside = options_.path + ".damaged";
  if (std::rename(options_.path.c_str(), aside.c_str()) != 0) log::warn("can't put it aside", {{"path", aside}});
}

void CounterKeeper::follow(Generations generations) {
  generations_ = std::move(generations);
  if (generations_) return arm();
  timer_.reset();
}

void CounterKeeper::arm() {
  timer_ = loop_.after(options_.read_every, [this] {
    arm();
    if (loop_.now() - read_at_ < options_.read_every) return;
    begin(Join::kAtHand, [] {});
  });
}

void CounterKeeper::fail(const char* type, const Error& error) {
  metrics_.add("hawser_proxy_counter_failures_total", "The proxy's counters couldn't be read or kept",
               {{"type", type}});
  log::debug("the proxy's counters", {{"type", type}, {"error", error.to_string()}});
}

// ---- reading

void CounterKeeper::begin(Join join, std::function<void()> done) {
  if (round_) {
    (join == Join::kAtHand ? round_->done : on_next_).push_back(std::move(done));
    return;
  }
  const auto now = generations_ ? generations_() : std::vector<Counters::Generation>();
  round_ = std::make_shared<Round>();
  round_->done.push_back(std::move(done));
  if (now.empty()) {
    round_->failure = Error(Code::kUnavailable, "HWS-PX-001", "no proxy is running", "hawser status says why");
    return finish();
  }
  counters_.begin_round(now);
  round_->serving = now.front().name;
  round_->awaited = now.size();
  for (const auto& each : now)
    driver_.scrape(each.name, [this, alive = std::weak_ptr(alive_), round = round_,
                               name = each.name](const Result<std::string>& text) {
      if (!alive.expired()) answered(*round, name, text);
    });
}

// One that has handed over by hot restart has no admin interface any more: what it last said stands.
void CounterKeeper::answered(Round& round, const std::string& generation, const Result<std::string>& text) {
  if (text)
    counters_.take(generation, *text);
  else if (generation == round.serving)
    round.failure = text.error();
  if (--round.awaited == 0) finish();
}

void CounterKeeper::finish() {
  const auto round = std::exchange(round_, nullptr);
  failure_ = round->failure;
  if (failure_) {
    fail("reading", *failure_);
  } else {
    read_at_ = loop_.now();
    stale_ = false;
  }
  metrics_.set("hawser_proxy_counter_series", "Series of the proxy's statistics that are kept", {},
               static_cast<double>(counters_.series()));
  if (std::exchange(refused_, counters_.refused()) != counters_.refused())
    fail("limit", Error(Code::kResourceExhausted, "HWS-PX-062", "the proxy has more series than are kept"));
  if (std::exchange(ended_, counters_.ended()) != counters_.ended() || loop_.now() - saved_at_ >= options_.save_every)
    save([] {});
  for (auto& done : round->done) done();
  auto next = std::exchange(on_next_, {});
  for (auto& done : next) begin(Join::kAtHand, std::move(done));
}

void CounterKeeper::scrape(Done done) {
  begin(Join::kAtHand, [this, done = std::move(done)] {
    if (failure_ && (stale_ || counters_.empty())) return done(*failure_);
    done(counters_.text());
  });
}

// ---- the last one

// Runs `done` when told, or when the time is over; not twice.
std::function<void()> CounterKeeper::once(Loop::Duration limit, std::function<void()> done) {
  struct Pending {
    std::function<void()> done;
    std::unique_ptr<Loop::Timer> timer;
  };
  auto pending = std::make_shared<Pending>();
  pending->done = std::move(done);
  const auto tell = [pending, alive = std::weak_ptr(alive_)] {
    const auto work = std::exchange(pending->done, nullptr);
    pending->timer.reset();
    if (work && !alive.expired()) work();
  };
  pending->timer = loop_.after(limit, tell);
  return tell;
}

void CounterKeeper::read_last(std::function<void()> done) {
  const auto tell = once(options_.last_wait, std::move(done));
  begin(Join::kAnew, [this, tell] { save(tell); });
}

void CounterKeeper::read_before_hand_over(const std::string& generation, std::function<void()> done) {
  if (!driver_.capabilities().flush_mark) return read_last(std::move(done));
  driver_.flush_mark(generation, [this, alive = std::weak_ptr(alive_), generation,
                                  done = std::move(done)](const Result<std::uint64_t>& mark) mutable {
    if (alive.expired()) return;
    if (!mark) return read_last(std::move(done));
    await_flush(generation, *mark, loop_.now() + options_.flush_wait, std::move(done));
  });
}

void CounterKeeper::await_flush(const std::string& generation, std::uint64_t mark, Loop::Monotonic until,
                                std::function<void()> done) {
  flush_timer_ = loop_.after(options_.flush_poll, [this, generation, mark, until, done = std::move(done)]() mutable {
    driver_.flush_mark(generation, [this, alive = std::weak_ptr(alive_), generation, mark, until,
                                    done = std::move(done)](const Result<std::uint64_t>& now) mutable {
      if (alive.expired()) return;
      if (now && *now == mark && loop_.now() < until) return await_flush(generation, mark, until, std::move(done));
      read_last(std::move(done));
    });
  });
}

// ---- keeping

void CounterKeeper::save(std::function<void()> done) {
  if (options_.path.empty()) return done();
  if (saving_) {
    save_again_ = true;
    on_saved_again_.push_back(std::move(done));
    return;
  }
  saving_ = true;
  saved_at_ = loop_.now();
  on_saved_.push_back(std::move(done));
  auto text = std::make_shared<const std::string>(counters_.save(options_.boot));
  slow_.submit([this, alive = std::weak_ptr(alive_), text, path = options_.path, &loop = loop_] {
    auto result = text->size() <= kMaxFile
                      ? file::write_atomic(path, *text, 0600)
                      : Status(Error(Code::kResourceExhausted, "HWS-PX-062", "too many counters to be kept"));
    loop.post([this, alive, result = std::move(result)] {
      if (!alive.expired()) written(result);
    });
  });
}

void CounterKeeper::written(const Status& result) {
  if (!result) fail("write", result.error());
  saving_ = false;
  auto told = std::exchange(on_saved_, {});
  if (std::exchange(save_again_, false)) {
    on_saved_ = std::exchange(on_saved_again_, {});
    save([] {});
  }
  for (auto& done : told) done();
}

void CounterKeeper::forget() {
  follow({});
  if (options_.path.empty()) return;
  // Behind a write that is under way.
  slow_.submit([path = std::exchange(options_.path, {})] {
    if (auto removed = file::remove_durable(path); !removed) log::warn(removed.error().to_string());
  });
}

}  // namespace hawser::proxy
