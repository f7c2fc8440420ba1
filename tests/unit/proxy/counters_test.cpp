// SPDX-License-Identifier: Apache-2.0
#include "proxy/counters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "proxy/exposition.h"

namespace hawser::proxy {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string requests_metric(int count) {
  return "# TYPE rq counter\nrq{code=\"200\"} " + std::to_string(count) + "\n";
}

TEST(Counters, CountsOnOverGenerations) {
  Counters counters;
  counters.begin_round({{"f1e0", 10}});
  EXPECT_TRUE(counters.take("f1e0", requests_metric(7)));
  EXPECT_EQ(counters.text(), requests_metric(7));
  counters.begin_round({{"f1e1", 11}});
  EXPECT_EQ(counters.text(), requests_metric(7));
  counters.take("f1e1", requests_metric(2));
  EXPECT_EQ(counters.text(), requests_metric(9));
  EXPECT_EQ(counters.ended(), 1U);
}

TEST(Counters, AddsThoseThatRunTogether) {
  Counters counters;
  counters.begin_round({{"f1e0", 10}, {"f2e0", 11}});
  counters.take("f1e0", requests_metric(7));
  counters.take("f2e0", requests_metric(5));
  EXPECT_EQ(counters.text(), requests_metric(12));
  // The old one's admin interface is gone, as after a hot restart: what it said last stands.
  counters.begin_round({{"f2e0", 11}, {"f1e0", 0}});
  counters.take("f2e0", requests_metric(6));
  EXPECT_EQ(counters.text(), requests_metric(13));
}

TEST(Counters, TellsAProcessFromAnEarlierOneOfTheSameName) {
  Counters counters;
  counters.begin_round({{"f1e0", 10}});
  counters.take("f1e0", requests_metric(7));
  counters.begin_round({{"f1e0", 20}});
  counters.take("f1e0", requests_metric(8));
  EXPECT_EQ(counters.text(), requests_metric(15));
}

TEST(Counters, BearsAResetWithinAGeneration) {
  Counters counters;
  counters.begin_round({{"f1e0", 10}});
  counters.take("f1e0", requests_metric(7));
  counters.take("f1e0", requests_metric(2));
  EXPECT_EQ(counters.text(), requests_metric(9));
}

TEST(Counters, KeepsWhatIsGone) {
  Counters counters;
  counters.begin_round({{"f1e0", 10}});
  counters.take("f1e0", requests_metric(7) + "# TYPE up gauge\nup{} 3\n");
  EXPECT_THAT(counters.text(), HasSubstr("up{} 3"));
  counters.take("f1e0", "# TYPE other counter\nother{} 1\n");
  EXPECT_THAT(counters.text(), HasSubstr(requests_metric(7)));
  EXPECT_THAT(counters.text(), Not(HasSubstr("up{}")));  // a gauge that nobody tells is no more
}

TEST(Counters, GaugesAreOfThoseThatAnswerNow) {
  const auto gauges = [](int connections, int epoch) {
    return "# TYPE cx_active gauge\ncx_active{} " + std::to_string(connections) +
           "\n# TYPE envoy_server_hot_restart_epoch gauge\nenvoy_server_hot_restart_epoch{} " + std::to_string(epoch) +
           "\n";
  };
  Counters counters;
  counters.begin_round({{"f2e0", 11}, {"f1e0", 10}});
  counters.take("f1e0", gauges(5, 7));
  counters.take("f2e0", gauges(3, 9));
  EXPECT_EQ(counters.text(), gauges(8, 9));
  counters.begin_round({{"f2e0", 11}, {"f1e0", 10}});
  counters.take("f2e0", gauges(4, 9));
  EXPECT_EQ(counters.text(), gauges(4, 9));
  counters.begin_round({{"f2e0", 11}});
  EXPECT_EQ(counters.text(), "");
}

std::string histogram(int small, int all, const std::string& sum) {
  return "# TYPE rq_time histogram\nrq_time_bucket{le=\"1\"} " + std::to_string(small) +
         "\nrq_time_bucket{le=\"+Inf\"} " + std::to_string(all) + "\nrq_time_sum{} " + sum + "\nrq_time_count{} " +
         std::to_string(all) + "\n";
}

TEST(Counters, AddsHistogramsAndBeginsThemAnewAsAWhole) {
  Counters counters;
  counters.begin_round({{"f1e0", 10}});
  counters.take("f1e0", histogram(3, 10, "2.5"));
  EXPECT_EQ(counters.text(), histogram(3, 10, "2.5"));
  counters.take("f1e0", histogram(3, 4, "1.25"));
  EXPECT_EQ(counters.text(), histogram(6, 14, "3.75"));
}

TEST(Counters, LeavesOutWhatDoesNotFit) {
  Counters counters;
  counters.begin_round({{"f1e0", 10}});
  counters.take(
      "f1e0",
      "untyped 4\n# TYPE q summary\nq{quantile=\"0.5\"} 1\n# TYPE c counter\nc{} -1\nc{} nan\nc{} 1e999\nd 5\n"
      "c{a=\"}\\\"{\"} 4\nc{a=\"\nc{} \nc\n# TYPE c gauge\nc{x=\"1\"} 9\n# TYPE\n# TYPE e counter\ne 2 1700000000\n");
  EXPECT_EQ(counters.text(), "# TYPE c counter\nc{a=\"}\\\"{\"} 4\n# TYPE e counter\ne 2\n");
}

TEST(Counters, OutlivesHawserd) {
  Counters before;
  before.begin_round({{"f1e0", 10}});
  before.take("f1e0", requests_metric(7) + histogram(3, 10, "0.1"));
  before.begin_round({{"f1e1", 11}});
  before.take("f1e1", requests_metric(2));
  const auto shown = before.text();
  Counters after;
  ASSERT_TRUE(after.restore(before.save("boot"), "boot"));
  EXPECT_EQ(after.text(), shown);
  after.begin_round({{"f1e1", 11}});
  after.take("f1e1", requests_metric(3));
  EXPECT_THAT(after.text(), HasSubstr(requests_metric(10)));
  ASSERT_TRUE(after.restore(before.save("boot"), "another boot"));
  EXPECT_EQ(after.text(), "");
}

TEST(Counters, EveryCutOfTheFileIsNoticed) {
  Counters before;
  before.begin_round({{"f1e0", 10}});
  before.take("f1e0", requests_metric(7));
  const auto whole = before.save("b");
  for (std::size_t length = 0; length + 1 < whole.size(); ++length) {
    Counters after;
    const bool other_boot = length >= 20 && length < 21;  // the boot's name is cut off
    EXPECT_EQ(bool(after.restore(whole.substr(0, length), "b")), other_boot) << length;
    EXPECT_TRUE(after.empty());
  }
}

TEST(Counters, MakesRoomAtTheBound) {
  Counters counters;
  counters.begin_round({{"f1e0", 10}});
  std::string many = "# TYPE c counter\n";
  for (std::size_t i = 0; i < Counters::kMaxSeries + 5; ++i) many += "c{n=\"" + std::to_string(i) + "\"} 0\n";
  counters.take("f1e0", many);
  EXPECT_EQ(counters.series(), Counters::kMaxSeries);
  EXPECT_EQ(counters.refused(), 5U);
  counters.take("f1e0", requests_metric(1));
  (void)counters.text();
  counters.take("f1e0", requests_metric(3));
  EXPECT_EQ(counters.text(), requests_metric(3));
  EXPECT_EQ(counters.series(), 1U);
}

TEST(Exposition, TakesAnyBytes) {
  for (const std::string_view line :
       {"", "{", "a{\"", "a{\"\\", "a{} ", "# TYPE", "# TYPE a", "# TYPE  ", "a\t1", "1a 2"})
    EXPECT_FALSE(exposition::parse_type(line));
  EXPECT_FALSE(exposition::parse_sample("a{\"\\"));
  EXPECT_FALSE(exposition::parse_sample("a{b=\"c\"}4"));
  EXPECT_TRUE(exposition::parse_sample("a\t1"));
}

}  // namespace
}  // namespace hawser::proxy
