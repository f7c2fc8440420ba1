// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "../base/crash.h"
#include "base/file.h"
#include "certs/export.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;

const std::string kBegin = "-----BEGIN CERTIFICATE-----\n";
const std::string kEnd = "-----END CERTIFICATE-----\n";

// Sets whose files all carry the set's name.
struct Named {
  explicit Named(const std::string& name)
      : key("key " + name), chain(kBegin + name + "\n" + kEnd), roots("roots " + name) {}
  operator ExportSet() const { return {key, chain, roots}; }
  std::string key, chain, roots;
};

class ExportCrash : public ::testing::Test {
 protected:
  ~ExportCrash() override { failpoint::arm(""); }

  void reset() {
    failpoint::arm("");
    fs::remove_all(target.to);
    ASSERT_TRUE(write("oldest", 1));
    ASSERT_TRUE(write("old", 2));
  }
  Status write(const std::string& name, int second) {
    return write_export(target, Named(name), Loop::Wall(std::chrono::seconds(1'800'000'000 + second)));
  }
  // What a program finds that opens each file by its name, once nobody writes any more.
  std::string found() const {
    const auto content = [this](const char* name) {
      return file::read_bounded(target.to + "/" + name, 1 << 20).value_or("none");
    };
    for (const std::string name : {"oldest", "old", "fresh"}) {
      const Named set(name);
      if (content("private_key.pem") == set.key && content("certificates.pem") == set.chain &&
          content("ca_certificates.pem") == set.roots)
        return name;
    }
    return "mixed";
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(target.to), fs::directory_iterator{}));
  }

  test::TempFolder folder;
  ExportTarget target{folder.at("out"), ExportLayout::kSpiffe, {}, {}};
};

TEST_F(ExportCrash, AtAnyStepLeavesOneWholeSet) {
  const auto replace = [this] { (void)write("fresh", 3); };
  reset();
  const std::size_t whole = entries();  // with the set before
  const auto steps = crash::steps_of(replace);
  ASSERT_GE(steps.size(), 15U);  // three files, two folders, a link
  int before = 0;
  int after = 0;
  for (const auto& step : steps) {
    reset();
    ASSERT_TRUE(crash::dies_at(step, replace)) << step.first;
    const std::string left = found();
    EXPECT_THAT(left, AnyOf("old", "fresh")) << step.first << " " << step.second;
    (left == "fresh" ? after : before) += 1;
    if (left == "old") {
      EXPECT_EQ(after, 0) << "once new, never old again: " << step.first;
    }
    ASSERT_TRUE(write("fresh", 4)) << step.first;
    EXPECT_EQ(found(), "fresh") << step.first;
    ASSERT_TRUE(sweep_export(target)) << step.first;
    EXPECT_EQ(entries(), whole - 1) << "something was left for good after " << step.first;
  }
  EXPECT_GT(before, 0);
  EXPECT_GT(after, 0);
}

TEST_F(ExportCrash, AStepThatFailsLeavesOneWholeSetAndIsTold) {
  const auto replace = [this] { (void)write("fresh", 3); };
  reset();
  for (const auto& step : crash::steps_of(replace)) {
    reset();
    failpoint::arm(step.first + ":errno=ENOSPC@" + std::to_string(step.second));
    const auto written = write("fresh", 3);
    failpoint::arm("");
    EXPECT_THAT(found(), AnyOf("old", "fresh")) << step.first;
    if (!written) {
      EXPECT_EQ(written.error().id(), "HWS-XP-001") << step.first;
    } else {
      EXPECT_EQ(found(), "fresh") << step.first << " failed, and nobody was told";
    }
  }
}

}  // namespace
}  // namespace hawser::certs
