// SPDX-License-Identifier: Apache-2.0
#include "xds/answer_watch.h"

#include <algorithm>
#include <utility>

namespace hawser::xds {
namespace {

constexpr std::size_t kMostRemembered = 64;
// A plane that answered so many streams in a row is one that answers, until it didn't so often.
constexpr int kHabit = 3;
constexpr int kMostInsisted = 3;

}  // namespace

void AnswerWatch::opened() {
  closed();
  timer_ = strand_.after(timeout_, [this] { overdue(); });
}

void AnswerWatch::sent(const Expectation& expectation) {
  switch (expectation.kind) {
    case Expectation::Kind::kNothing:
      return;
    case Expectation::Kind::kMayBeSilent:
      may_be_silent_ = true;
      return;
    case Expectation::Kind::kShouldAnswer:
      if (never_answered_.contains(expectation.what)) {
        may_be_silent_ = true;
        return;
      }
      break;
    case Expectation::Kind::kMustAnswer:
      must_answer_ = true;
      break;
  }
  if (awaited_.empty()) awaited_ = expectation.what;
  if (answered_ && !timer_) timer_ = strand_.after(timeout_, [this] { overdue(); });
}

void AnswerWatch::written() {
  if (answered_ || !may_be_silent_ || !awaited_.empty() || consent_timer_) return;
  if (answered_freely_ >= kHabit) return;  // the time for the stream as a whole goes on
  consent_timer_ = strand_.after(consent_, [this] { consent(); });
}

void AnswerWatch::consent() {
  consent_timer_.reset();
  // Not yet: it may be connecting still, or something has been asked for since.
  if (answered_ || !awaited_.empty()) return;
  if (!events_.alive()) {
    consent_timer_ = strand_.after(consent_, [this] { consent(); });
    return;
  }
  answered_ = true;
  answered_freely_ = 0;
  timer_.reset();
  events_.on_consent();
}

void AnswerWatch::overdue() {
  timer_.reset();
  if (may_be_silent_ && awaited_.empty() && events_.alive() && ++insisted_ >= kMostInsisted)
    answered_freely_ = insisted_ = 0;
  // A name that this plane doesn't speak of is insisted on once, or the stream would be re-opened for ever.
  if (!must_answer_ && !awaited_.empty()) {
    if (never_answered_.size() >= kMostRemembered) never_answered_.clear();
    never_answered_.insert(awaited_);
  }
  events_.on_overdue(std::exchange(awaited_, {}));
}

void AnswerWatch::answered() {
  if (!std::exchange(answered_, true) && may_be_silent_ && awaited_.empty())
    answered_freely_ = std::min(answered_freely_ + 1, kHabit);
  insisted_ = 0;
  must_answer_ = false;
  awaited_.clear();
  timer_.reset();
  consent_timer_.reset();
}

void AnswerWatch::closed() {
  answered_ = may_be_silent_ = must_answer_ = false;
  awaited_.clear();
  timer_.reset();
  consent_timer_.reset();
}

}  // namespace hawser::xds
