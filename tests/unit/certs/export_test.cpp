// SPDX-License-Identifier: Apache-2.0
#include "certs/export.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/fd.h"
#include "base/file.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using test::TempFolder;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

const std::string kLeaf = "-----BEGIN CERTIFICATE-----\nleaf\n-----END CERTIFICATE-----\n";
const std::string kIntermediate = "-----BEGIN CERTIFICATE-----\nintermediate\n-----END CERTIFICATE-----\n";

// A set whose files all carry one number.
struct Numbered {
  explicit Numbered(unsigned number)
      : key("key " + std::to_string(number)),
        chain(std::to_string(number) + kLeaf + kIntermediate),
        roots("roots " + std::to_string(number)) {}
  operator ExportSet() const { return {key, chain, roots}; }
  std::string key, chain, roots;
};

class ExportTest : public ::testing::Test {
 protected:
  Status write(unsigned number) {
    now += std::chrono::seconds(1);
    return write_export(target, Numbered(number), now);
  }
  std::string at(const std::string& name) const { return target.to + "/" + name; }
  std::string content(const std::string& name) const { return file::read_bounded(at(name), 1 << 20).value_or("none"); }
  mode_t mode(const std::string& name) const {
    struct stat info {};
    EXPECT_EQ(::stat(at(name).c_str(), &info), 0) << name;
    return info.st_mode & 07777U;
  }
  std::vector<std::string> listed() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(target.to)) out.push_back(entry.path().filename());
    return out;
  }

  TempFolder folder;
  ExportTarget target{folder.at("out"), ExportLayout::kPem, {}, {}};
  Loop::Wall now{std::chrono::seconds(1'800'000'000)};
};

TEST_F(ExportTest, EachLayoutHasItsNames) {
  ASSERT_TRUE(write(1));
  EXPECT_EQ(content("key.pem"), "key 1");
  EXPECT_EQ(content("cert.pem"), "1" + kLeaf);
  EXPECT_EQ(content("chain.pem"), "1" + kLeaf + kIntermediate);
  EXPECT_EQ(content("ca.pem"), "roots 1");
  target.layout = ExportLayout::kIstio;
  ASSERT_TRUE(write(2));
  EXPECT_EQ(content("key.pem"), "key 2");
  EXPECT_EQ(content("cert-chain.pem"), "2" + kLeaf + kIntermediate);
  EXPECT_EQ(content("root-cert.pem"), "roots 2");
  EXPECT_FALSE(file::exists(at("ca.pem"))) << "what another layout had there is gone";
  target.layout = ExportLayout::kSpiffe;
  ASSERT_TRUE(write(3));
  EXPECT_EQ(content("private_key.pem"), "key 3");
  EXPECT_EQ(content("certificates.pem"), "3" + kLeaf + kIntermediate);
  EXPECT_EQ(content("ca_certificates.pem"), "roots 3");
}

TEST_F(ExportTest, OnlyTheKeyIsSecretAndTheGroupMayReadIt) {
  const mode_t before = ::umask(0077);
  ASSERT_TRUE(write(1));
  EXPECT_EQ(mode("key.pem"), 0600U);
  EXPECT_EQ(mode("cert.pem"), 0644U);
  EXPECT_EQ(mode("..data"), 0755U);
  target.group = ::getegid();
  ASSERT_TRUE(write(1));
  EXPECT_EQ(mode("key.pem"), 0640U);
  ::umask(before);
}

TEST_F(ExportTest, TheOldSetIsSweptAndNothingElse) {
  std::filesystem::create_directories(at("..else"));
  for (const unsigned number : {1, 2, 3}) ASSERT_TRUE(write(number));
  EXPECT_THAT(listed(), ::testing::SizeIs(8)) << "the one before stays for a while";
  ASSERT_TRUE(sweep_export(target));
  EXPECT_THAT(listed(), ::testing::SizeIs(7)) << "four names, ..data, one set, and what was there";
  EXPECT_TRUE(file::exists(at("..else")));
}

TEST_F(ExportTest, TheSameSetIsLeftAlone) {
  ASSERT_TRUE(write(1));
  const auto before = listed();
  ASSERT_TRUE(write(1));
  EXPECT_THAT(listed(), UnorderedElementsAreArray(before));
  ::chmod(at("key.pem").c_str(), 0644);
  ASSERT_TRUE(write(1));
  EXPECT_EQ(mode("key.pem"), 0600U) << "a looser mode is set right";
}

TEST_F(ExportTest, SomebodyElsesFilesAreNotTouched) {
  std::filesystem::create_directories(target.to);
  std::ofstream(at("key.pem")) << "theirs";
  const auto written = write(1);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().id(), "HWS-XP-003");
  EXPECT_THAT(written.error().message(), HasSubstr(at("key.pem")));
  EXPECT_EQ(content("key.pem"), "theirs");
  EXPECT_THAT(listed(), ::testing::SizeIs(1));
}

TEST_F(ExportTest, AFolderThatCannotBeMadeIsNamed) {
  target.to = folder.at("a/b");
  const auto written = write(1);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().id(), "HWS-XP-001");
  EXPECT_THAT(written.error().message(), HasSubstr(target.to));
}

TEST_F(ExportTest, WhatACrashLeftIsTakenAwayByTheNext) {
  ASSERT_TRUE(write(1));
  std::filesystem::create_directories(at("..2020_01_01_00_00_00.000000001"));
  ASSERT_EQ(::symlink("..2020_01_01_00_00_00.000000001", at("..data.new").c_str()), 0);
  ASSERT_TRUE(write(2));
  ASSERT_TRUE(sweep_export(target));
  EXPECT_THAT(listed(), ::testing::SizeIs(6));
}

TEST_F(ExportTest, RemovingLeavesNothingOfOurs) {
  ASSERT_TRUE(write(1));
  std::ofstream(at("theirs")) << "x";
  ASSERT_TRUE(remove_export(target));
  EXPECT_THAT(listed(), ::testing::ElementsAre("theirs"));
  target.to = folder.at("never");
  EXPECT_TRUE(remove_export(target));
}

TEST_F(ExportTest, WhoOpensTheLinkOnceReadsOneSetAndNamesAreNeverTorn) {
  ASSERT_TRUE(write(1));
  std::atomic<bool> over = false;
  std::thread writer([&] {
    for (unsigned number = 2; !over; ++number) EXPECT_TRUE(write(number));
  });
  const auto read_in = [](int set, const char* name) {
    const UniqueFd fd(::openat(set, name, O_RDONLY | O_CLOEXEC));
    char text[256];
    const ssize_t size = fd ? ::read(fd.get(), text, sizeof text) : 0;
    return std::string(text, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  };
  unsigned whole = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (std::chrono::steady_clock::now() < end) {
    EXPECT_THAT(content("key.pem"), HasSubstr("key ")) << "a name is always there, and never half of a file";
    const UniqueFd set(::open(at("..data").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(set);
    const std::string key = read_in(set.get(), "key.pem"), roots = read_in(set.get(), "ca.pem");
    if (key.empty() || roots.empty()) continue;  // taken away meanwhile: who reads so opens the link again
    ++whole;
    EXPECT_EQ(key.substr(4), roots.substr(6));
  }
  over = true;
  writer.join();
  EXPECT_GT(whole, 0U);
}

}  // namespace
}  // namespace hawser::certs
