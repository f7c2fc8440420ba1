// SPDX-License-Identifier: Apache-2.0
#include "status/metrics_merge.h"

#include <gtest/gtest.h>

namespace hawser::status {
namespace {

TEST(MetricsMerge, KeepsPartsThatShareNothing) {
  const std::string a = "# HELP a help of a\n# TYPE a counter\na 1\n";
  const std::string b = "# TYPE b gauge\nb{x=\"1\"} 2\nb{x=\"2\"} 3\n";
  EXPECT_EQ(merge_metrics({a, b}), a + b);
}

TEST(MetricsMerge, PutsAllSamplesOfAMetricTogetherUnderOneHelpAndType) {
  EXPECT_EQ(merge_metrics({"# HELP a one\n# TYPE a counter\na{p=\"1\"} 1\n# TYPE c gauge\nc 1\n",
                           "# HELP a other\n# TYPE a counter\na{p=\"2\"} 2\n"}),
            "# HELP a one\n# TYPE a counter\na{p=\"1\"} 1\na{p=\"2\"} 2\n# TYPE c gauge\nc 1\n");
}

TEST(MetricsMerge, DropsALaterPartsMetricOfAnotherType) {
  EXPECT_EQ(merge_metrics({"# TYPE a counter\na 1\n", "# TYPE a gauge\na 2\nb 3\n"}), "# TYPE a counter\na 1\nb 3\n");
}

TEST(MetricsMerge, DropsALaterHistogramWhoseNameIsTaken) {
  EXPECT_EQ(
      merge_metrics({"# TYPE h counter\nh 1\n", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 2\nh_count 2\n"}),
      "# TYPE h counter\nh 1\n");
}

TEST(MetricsMerge, KeepsAHistogramsSamplesUnderItsType) {
  const std::string h = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 2.5\nh_count 2\n";
  EXPECT_EQ(merge_metrics({h, ""}), h);
}

TEST(MetricsMerge, ATypeThatComesAfterItsSamplesIsNotWritten) {
  EXPECT_EQ(merge_metrics({"a 1\n", "# TYPE a counter\na 2\n"}), "a 1\n");
}

TEST(MetricsMerge, DropsCommentsEndMarksAndLinesThatAreNoSamples) {
  EXPECT_EQ(merge_metrics({"# just words\n\na 1\n<html>\n9a 1\na{ 1\na\n", "b 1 1700000000\r\n# EOF"}),
            "a 1\nb 1 1700000000\n");
}

TEST(MetricsMerge, ReadsQuotedBracesAndEscapes) {
  const std::string line = "a{x=\"}\\\" }\",y=\"{\"} 1\n";
  EXPECT_EQ(merge_metrics({line}), line);
}

TEST(MetricsMerge, AMetricWithoutSamplesLeavesNoTrace) {
  EXPECT_EQ(merge_metrics({"# HELP a x\n# TYPE a counter\n"}), "");
}

}  // namespace
}  // namespace hawser::status
