// SPDX-License-Identifier: Apache-2.0
#include "certs/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "certs/token_credential.h"
#include "jwt.h"
#include "test_ca.h"

namespace hawser::certs {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

const Loop::Wall kToday{1'700'000'000s};

std::string content(const std::string& path) {
  return file::read_bounded(path, 1 << 16).value_or("");
}

// /dev/shm is in memory on every Linux; removed with the test.
struct FileTokenTest : ::testing::Test {
  FileTokenTest() {
    char name[] = "/dev/shm/hawser-token-XXXXXX";
    memory = ::mkdtemp(name);
    given = memory + "/istio-token";
    kept = folder.at("token");
  }
  ~FileTokenTest() override { std::filesystem::remove_all(memory); }
  void give(const std::string& text, mode_t mode = 0600) const {
    std::ofstream(given) << text << "\n";
    ::chmod(given.c_str(), mode);
  }

  test::TempFolder folder;
  std::string memory;
  std::string given;
  std::string kept;
};

TEST_F(FileTokenTest, OneInMemoryIsCopiedToWhereItStaysAndOutlivesAReboot) {
  const std::string token = test::jwt_for("istio-ca", kToday, 1h);
  give(token);
  FileTokenSource source(given, kept);
  EXPECT_EQ(source.read()->text.reveal(), token);
  EXPECT_EQ(content(kept), token);
  EXPECT_EQ(std::filesystem::status(kept).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  std::filesystem::remove(given);
  FileTokenSource after_reboot(given, kept);
  EXPECT_EQ(after_reboot.read()->text.reveal(), token);
}

TEST_F(FileTokenTest, TheLaterOfTheTwoIsUsed) {
  const std::string older = test::jwt_for("istio-ca", kToday, 1h);
  const std::string newer = test::jwt_for("istio-ca", kToday + 10min, 30min);
  FileTokenSource source(given, kept);
  give(newer);
  EXPECT_EQ(source.read()->text.reveal(), newer);
  give(older);
  EXPECT_EQ(source.read()->text.reveal(), newer) << "by when it was issued, not by when it ends";
  EXPECT_EQ(content(kept), newer);
  const std::string newest = test::jwt_for("istio-ca", kToday + 20min, 1h);
  give(newest);
  EXPECT_EQ(source.read()->text.reveal(), newest);
  EXPECT_EQ(content(kept), newest);
}

TEST_F(FileTokenTest, OneThatIsNoJwtWorksTooAndTheFileWins) {
  FileTokenSource source(given, kept);
  give("opaque-1");
  EXPECT_EQ(source.read()->text.reveal(), "opaque-1");
  give("opaque-2");
  EXPECT_EQ(source.read()->text.reveal(), "opaque-2");
  EXPECT_EQ(content(kept), "opaque-2");
}

TEST_F(FileTokenTest, OneThatCantBeCopiedIsUsedAllTheSame) {
  give("opaque-1");
  FileTokenSource source(given, folder.at("missing/token"));
  EXPECT_EQ(source.read()->text.reveal(), "opaque-1");
}

TEST_F(FileTokenTest, ADamagedFileLeavesTheCopyInUse) {
  FileTokenSource source(given, kept);
  give("opaque-1");
  ASSERT_TRUE(source.read());
  give("half a token");
  EXPECT_EQ(source.read()->text.reveal(), "opaque-1");
}

TEST_F(FileTokenTest, OneThatOthersCouldReadIsClosed) {
  give("opaque-1", 0744);
  FileTokenSource source(given, kept);
  ASSERT_TRUE(source.read());
  EXPECT_EQ(std::filesystem::status(given).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(FileTokenTest, WithoutOneTheFixIsNamed) {
  FileTokenSource source("", kept);
  const auto none = source.read();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().id(), "HWS-ID-020");
  EXPECT_THAT(none.error().to_string(), HasSubstr("run hawser join again"));
  std::ofstream(kept) << "secret-part other\n";
  const auto words = source.read();
  ASSERT_FALSE(words);
  EXPECT_THAT(words.error().to_string(), ::testing::Not(HasSubstr("secret-part")));
}

TEST(EndsWithReboot, KnowsWhatIsInMemoryAndWhatIsCleaned) {
  EXPECT_TRUE(ends_with_reboot("/dev/shm"));
  EXPECT_TRUE(ends_with_reboot("/var/run/secrets/tokens/istio-token"));
  EXPECT_TRUE(ends_with_reboot("/tmp/token"));
  EXPECT_FALSE(ends_with_reboot("/usr/lib/token"));
}

TEST(CredentialTokenSource, ReadsSystemdsFolderAtEachUse) {
  test::TempFolder folder;
  CredentialTokenSource source(folder.path(), "hawser-token");
  const auto missing = source.read();
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().id(), "HWS-ID-032");
  EXPECT_THAT(missing.error().hint(), HasSubstr("LoadCredential=hawser-token:"));
  std::ofstream(folder.at("hawser-token")) << "opaque-1\n";
  EXPECT_EQ(source.read()->text.reveal(), "opaque-1");
  std::ofstream(folder.at("hawser-token")) << "opaque-2";
  EXPECT_EQ(source.read()->text.reveal(), "opaque-2");
  std::ofstream(folder.at("hawser-token")) << " \n";
  EXPECT_EQ(source.read().error().id(), "HWS-ID-032");
  EXPECT_EQ(CredentialTokenSource("", "x").read().error().id(), "HWS-ID-032");
  EXPECT_FALSE(source.traits().attests_again);
}

}  // namespace
}  // namespace hawser::certs
