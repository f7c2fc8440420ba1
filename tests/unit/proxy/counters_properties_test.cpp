// SPDX-License-Identifier: Apache-2.0
// Whatever generations do, nothing that was told goes back.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

#include "proxy/counters.h"
#include "proxy/exposition.h"

namespace hawser::proxy {
namespace {

std::map<std::string, double> read(const std::string& text) {
  std::map<std::string, double> out;
  std::string_view rest = text;
  while (!rest.empty())
    if (const auto sample = exposition::parse_sample(exposition::take_line(rest)))
      out[std::string(sample->key)] = sample->value;
  return out;
}

std::string some_reading() {
  std::string out = "# TYPE c counter\n";
  for (const char* label : {"a", "b", "c"})
    if (*rc::gen::arbitrary<bool>())
      out += std::string("c{x=\"") + label + "\"} " + std::to_string(*rc::gen::inRange(0, 1000)) + "\n";
  out += "# TYPE h histogram\n";
  if (*rc::gen::arbitrary<bool>()) {
    const int small = *rc::gen::inRange(0, 50);
    const int all = small + *rc::gen::inRange(0, 50);
    const double sum = *rc::gen::inRange(0, 1'000'000) / 7.0;
    out += "h_bucket{le=\"1\"} " + std::to_string(small) + "\nh_bucket{le=\"+Inf\"} " + std::to_string(all) +
           "\nh_sum{} " + std::to_string(sum) + "\nh_count{} " + std::to_string(all) + "\n";
  }
  return out;
}

std::vector<Counters::Generation> some_generations() {
  std::vector<Counters::Generation> out;
  for (const char* name : {"f1e0", "f1e1", "f2e0"})
    if (*rc::gen::arbitrary<bool>()) out.push_back({name, *rc::gen::inRange(0, 4)});
  return out;
}

void check(std::map<std::string, double>& shown, const std::string& text) {
  const auto now = read(text);
  for (const auto& [key, before] : shown) {
    RC_ASSERT(now.count(key) == 1U);
    RC_ASSERT(now.at(key) >= before);
  }
  // After a restart of ours what counts nothing isn't there.
  const auto value = [&now](const char* key) {
    const auto found = now.find(key);
    return found == now.end() ? 0 : found->second;
  };
  RC_ASSERT(value("h_bucket{le=\"+Inf\"}") == value("h_count{}"));
  RC_ASSERT(value("h_bucket{le=\"1\"}") <= value("h_count{}"));
  shown = now;
}

TEST(CountersProperties, NothingGoesBack) {
  const bool held = rc::check([] {
    Counters counters;
    std::map<std::string, double> shown;
    const int steps = *rc::gen::inRange(1, 30);
    for (int i = 0; i < steps; ++i) {
      const auto now = some_generations();
      counters.begin_round(now);
      for (const auto& each : now)
        if (*rc::gen::arbitrary<bool>()) counters.take(each.name, some_reading());
      if (*rc::gen::inRange(0, 5) == 0) {
        Counters later;
        RC_ASSERT(bool(later.restore(counters.save("b"), "b")));
        // What counts nothing isn't written down; and in floating point a sum of another order may differ.
        for (auto& [key, value] : shown) value -= value * 1e-12;
        std::erase_if(shown, [](const auto& item) { return item.second == 0; });
        counters = std::move(later);
      }
      check(shown, counters.text());
    }
  });
  EXPECT_TRUE(held);
}

TEST(CountersProperties, AnyBytesAreTaken) {
  const bool held = rc::check([](const std::string& bytes) {
    Counters counters;
    (void)counters.restore("# hawser counters 1 b\n# part ended\n" + bytes + "\n# end\n", "b");
    counters.begin_round({{"f1e0", 1}});
    counters.take("f1e0", bytes);
    counters.take("f1e0", "# TYPE a counter\na{" + bytes + "} 1\na" + bytes + "\n");
    (void)counters.text();
  });
  EXPECT_TRUE(held);
}

}  // namespace
}  // namespace hawser::proxy
