// SPDX-License-Identifier: Apache-2.0
#include "xds/answer_watch.h"

#include <utility>

namespace hawser::xds {
namespace {

constexpr std::size_t kMostRemembered = 64;

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
  timer_.reset();
  events_.on_consent();
}

void AnswerWatch::overdue() {
  timer_.reset();
  // A name that this plane doesn't speak of is insisted on once, or the stream would be re-opened for ever.
  if (!must_answer_ && !awaited_.empty()) {
    if (never_answered_.size() >= kMostRemembered) never_answered_.clear();
    never_answered_.insert(awaited_);
  }
  events_.on_overdue(std::exchange(awaited_, {}));
}

void AnswerWatch::answered() {
  answered_ = true;
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
