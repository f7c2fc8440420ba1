// SPDX-License-Identifier: Apache-2.0
// Both machines, in all states that small worlds can bring them into, and in a hundred thousand long histories of a
// larger one. Seeds and bounds are fixed, so a failure comes again; HAWSER_EXPLORE=N adds larger worlds, and makes the
// histories N times as many.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <unordered_set>

#include "model_world.h"

namespace hawser::proxy {
namespace {

using model::Budget;
using model::Move;
using model::Transitions;
using model::World;

constexpr unsigned kRecovery = 400;  // moves
constexpr std::size_t kFailures = 6;

unsigned factor() {
  const char* text = std::getenv("HAWSER_EXPLORE");
  return text == nullptr ? 1 : std::max(1, std::atoi(text));
}

struct Seen {
  Transitions phases;
  Transitions steps;

  void take(World& world) {
    phases.merge(world.phases());
    steps.merge(world.steps());
  }
};

// What both tests have seen, for the third.
Seen& seen() {
  static Seen all;
  return all;
}

std::uint64_t hash(const std::string& text) {
  return std::hash<std::string>{}(text);
}

// From here on all goes well: where does it lead? Empty: to one that serves. States in `known` have been asked before.
std::string recovers(World world, std::unordered_set<std::uint64_t>& known) {
  world.heal();
  std::vector<std::uint64_t> passed;
  std::string trace;
  for (unsigned i = 0; i < kRecovery; ++i) {
    const auto state = hash(world.fingerprint(false));
    const auto move = world.good_move();
    if (known.count(state) > 0 || (!move && world.settled())) {
      passed.push_back(state);
      known.insert(passed.begin(), passed.end());
      return {};
    }
    if (!move) return "stuck: " + world.describe() + trace;
    passed.push_back(state);
    trace += "\n    " + move->text() + ": " + world.describe();
    if (trace.size() > 6000) trace.erase(0, 2000);
    world.apply(*move);
    seen().take(world);
    if (!world.broken().empty()) return world.broken() + trace;
  }
  return "no way back in " + std::to_string(kRecovery) + " moves: " + world.describe() + trace;
}

struct Step {
  std::shared_ptr<const Step> before;
  Move move;
};

std::string history(World world, const std::shared_ptr<const Step>& last) {
  std::deque<Move> moves;
  for (const Step* step = last.get(); step != nullptr; step = step->before.get()) moves.push_front(step->move);
  std::string out;
  for (const auto& move : moves) {
    world.apply(move);
    out += "\n  " + move.text() + ": " + world.describe();
  }
  return out;
}

struct Explored {
  std::size_t states = 0;
  std::size_t transitions = 0;
  bool whole = false;  // there are no others
};

// Breadth first, so that what it finds is the shortest way there.
Explored explore(Budget budget) {
  struct Place {
    World world;
    std::shared_ptr<const Step> way;
  };
  std::unordered_set<std::uint64_t> known, good;
  std::deque<Place> open;
  open.push_back({World(budget), nullptr});
  known.insert(hash(open.back().world.fingerprint(true)));
  Explored out;
  std::set<std::string> failures;
  // Several causes in one run; what follows from a bad state is bad for the same reason mostly.
  const auto fail = [&failures, budget](const std::string& what, const std::shared_ptr<const Step>& way) {
    if (failures.insert(what.substr(0, what.find('\n'))).second)
      ADD_FAILURE() << what << "\nafter" << history(World(budget), way);
    return failures.size() >= kFailures;
  };
  while (!open.empty()) {
    const Place place = std::move(open.front());
    open.pop_front();
    out.states = known.size();
    const auto lost = recovers(place.world, good);
    if (!lost.empty()) {
      if (fail(lost, place.way)) return out;
      continue;
    }
    for (const auto& move : place.world.moves()) {
      World next = place.world;
      next.apply(move);
      ++out.transitions;
      seen().take(next);
      const bool fresh = next.broken().empty() && known.insert(hash(next.fingerprint(true))).second;
      if (!fresh && next.broken().empty()) continue;
      auto way = std::make_shared<const Step>(Step{place.way, move});
      if (fresh)
        open.push_back({std::move(next), std::move(way)});
      else if (fail(next.broken(), way))
        return out;
    }
  }
  out.states = known.size();
  out.whole = failures.empty();
  return out;
}

// The frontier is emptied: whatever happens in such a world, in whatever order, has been tried.
void explore_all(const std::vector<Budget>& worlds) {
  for (const Budget& budget : worlds) {
    const auto found = explore(budget);
    std::cout << "  " << found.states << " states, " << found.transitions << " transitions: " << budget.hand_overs
              << " hand-overs, " << budget.faults << " faults, " << budget.crashes << " crashes of hawserd, "
              << budget.stops << " stops" << std::endl;
    ASSERT_TRUE(found.whole);
    ASSERT_GT(found.states, 1000U) << "a world in which little happens proves little";
  }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSlow = true;
#else
constexpr bool kSlow = false;
#endif

// {faults, hand_overs, crashes, stops}
TEST(Exploration, SmallWorldsKeepTheInvariantsInEveryState) {
  explore_all({{0, 1, 0, 0}, {1, 1, 0, 0}, {2, 0, 0, 0}, {0, 1, 1, 0}, {0, 1, 1, 1}, {1, 0, 1, 1}});
  if (!kSlow && !HasFatalFailure()) explore_all({{0, 2, 0, 0}, {1, 1, 0, 1}, {1, 1, 1, 0}, {2, 1, 0, 0}});
  if (factor() > 1 && !HasFatalFailure()) explore_all({{1, 2, 0, 0}, {1, 1, 1, 1}});
}

TEST(Exploration, RandomHistoriesKeepTheInvariants) {
  const unsigned histories = 100000 * factor();
  std::unordered_set<std::uint64_t> good;
  std::uint64_t moves = 0;
  for (unsigned seed = 1; seed <= histories; ++seed) {
    std::mt19937 engine(seed);
    const auto random = [&engine](std::size_t below) { return static_cast<unsigned>(engine() % below); };
    Budget budget;
    budget.faults = random(20);
    budget.hand_overs = random(4);
    budget.crashes = random(3);
    budget.stops = random(4);
    World world(budget);
    std::string trace;
    const unsigned length = 15 + random(45);
    for (unsigned i = 0; i < length; ++i) {
      const auto all = world.moves();
      if (all.empty()) break;
      const Move move = all[random(all.size())];
      world.apply(move);
      ++moves;
      seen().take(world);
      trace += "\n  " + move.text() + ": " + world.describe();
      ASSERT_EQ(world.broken(), "") << "seed " << seed << trace;
    }
    ASSERT_EQ(recovers(world, good), "") << "seed " << seed << trace;
  }
  std::cout << "  " << histories << " histories, " << moves << " moves\n";
}

// `from --> to` of the diagrams in docs/supervision.md that begin with `stateDiagram-v2` under that heading.
Transitions documented(const std::string& heading) {
  const char* root = std::getenv("HAWSER_SOURCE_DIR");
  std::ifstream file(std::string(root == nullptr ? "." : root) + "/docs/supervision.md");
  Transitions out;
  bool here = false;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) here = line.find(heading) != std::string::npos;
    if (line.starts_with("```")) inside = here && line.find("mermaid") != std::string::npos;
    std::istringstream words(line);
    std::string from, arrow, to;
    if (inside && words >> from >> arrow >> to && arrow == "-->" && from != "[*]" && to != "[*]") out.emplace(from, to);
  }
  return out;
}

std::string text(const Transitions& transitions) {
  std::string out;
  for (const auto& [from, to] : transitions) out += "    " + from + " --> " + to + "\n";
  return out;
}

// Of the larger worlds, which the sanitizers leave out, some ways are only there.
void expect_same(const Transitions& drawn, Transitions happened) {
  if (kSlow) happened.insert(drawn.begin(), drawn.end());
  EXPECT_EQ(text(drawn), text(happened));
}

// Needs what the two tests above have seen, so it runs after them.
TEST(Exploration, TheDiagramsShowWhatHappensAndNothingElse) {
  ASSERT_FALSE(seen().phases.empty()) << "run it with the other tests of this program";
  expect_same(documented("States"), seen().phases);
  expect_same(documented("Steps of a hand-over"), seen().steps);
}

}  // namespace
}  // namespace hawser::proxy
