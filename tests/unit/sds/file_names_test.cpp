// SPDX-License-Identifier: Apache-2.0
#include "sds/file_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/asio_loop.h"
#include "base/fake_loop.h"
#include "base/file.h"
#include "sds/file_secrets.h"
#include "test_ca.h"

namespace hawser::sds {
namespace {

using certs::IdentityPtr;
using certs::test::kSpiffe;
using ::testing::HasSubstr;

void write(const std::string& path, std::string_view text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  ASSERT_TRUE(file::write_atomic(path, text, 0600));
}

struct Health final : HealthSink {
  void report(const std::string&, HealthState state, const std::string& detail, const Error* error) override {
    last = state;
    text = detail;
    id = error != nullptr ? error->id() : "";
  }
  HealthState last = HealthState::kStarting;
  std::string text, id;
};

class FileNamesTest : public ::testing::Test {
 protected:
  FileNamesTest() {
    access.folders = {folder.at("allowed")};
    access.forbidden = {folder.at("allowed/state")};
    put("allowed", *one);
  }
  void put(const std::string& where, const certs::Identity& identity) {
    write(folder.at(where + "/cert.pem"), identity.chain_pem);
    write(folder.at(where + "/key.pem"), identity.key_pem.reveal());
    write(folder.at(where + "/root.pem"), identity.roots_pem);
  }
  std::string cert_in(const std::string& where) const {
    return "file-cert:" + folder.at(where + "/cert.pem") + "~" + folder.at(where + "/key.pem");
  }
  std::string id_of(const std::string& name) const {
    const auto loaded = load_file_secret(name, access);
    return loaded ? "" : loaded.error().id();
  }

  certs::test::TempFolder folder;
  certs::test::TestCa ca{"files"};
  IdentityPtr one = ca.identity(kSpiffe, certs::test::around(std::chrono::system_clock::now()));
  IdentityPtr two = ca.identity(kSpiffe, certs::test::around(std::chrono::system_clock::now()));
  FileAccess access;
};

TEST_F(FileNamesTest, PairsAndRootsAreRead) {
  const auto pair = load_file_secret(cert_in("allowed"), access);
  ASSERT_TRUE(pair) << pair.error().to_string();
  EXPECT_EQ((*pair)->chain_pem, one->chain_pem);
  EXPECT_TRUE((*pair)->key_pem == one->key_pem);
  const auto roots = load_file_secret("file-root:" + folder.at("allowed/root.pem"), access);
  ASSERT_TRUE(roots);
  EXPECT_EQ((*roots)->roots_pem, one->roots_pem);
}

TEST_F(FileNamesTest, OnlyAllowedFoldersAreReadWhateverLinksSay) {
  put("other", *one);
  put("allowed/state", *one);
  EXPECT_EQ(id_of(cert_in("other")), "HWS-SDS-004");
  EXPECT_EQ(id_of(cert_in("allowed/state")), "HWS-SDS-004") << "our own state, even below an allowed folder";
  ASSERT_EQ(::symlink(folder.at("other").c_str(), folder.at("allowed/link").c_str()), 0);
  EXPECT_EQ(id_of(cert_in("allowed/link")), "HWS-SDS-004") << "a link that leads out";
  EXPECT_EQ(id_of(cert_in("allowed/../other")), "HWS-SDS-004");
  EXPECT_EQ(id_of(cert_in("allowedness")), "HWS-SDS-004") << "a name that only begins so";
  ASSERT_EQ(::symlink(folder.at("allowed").c_str(), folder.at("in").c_str()), 0);
  EXPECT_EQ(id_of(cert_in("in")), "") << "a link that leads in";
}

TEST_F(FileNamesTest, WhatIsNoCertificateIsNotServed) {
  write(folder.at("allowed/cert.pem"), "root:x:0:0");
  EXPECT_EQ(id_of(cert_in("allowed")), "HWS-SDS-005");
  write(folder.at("allowed/cert.pem"), two->chain_pem);
  EXPECT_EQ(id_of(cert_in("allowed")), "HWS-SDS-006");
  EXPECT_EQ(id_of("file-root:" + folder.at("allowed/none")), "HWS-SDS-005");
  EXPECT_EQ(id_of("file-root:" + folder.at("allowed")), "HWS-SDS-004") << "the folder itself isn't in it";
  ASSERT_EQ(::mkfifo(folder.at("allowed/pipe").c_str(), 0600), 0);
  EXPECT_EQ(id_of("file-root:" + folder.at("allowed/pipe")), "HWS-SDS-005") << "nobody writes there: it mustn't wait";
}

TEST_F(FileNamesTest, MalformedNamesAreTold) {
  for (const char* name : {"file-cert:", "file-cert:/a", "file-cert:~/b", "file-cert:/a~", "file-root:"})
    EXPECT_EQ(id_of(name), "HWS-SDS-007") << name;
  EXPECT_FALSE(is_file_name("default"));
  EXPECT_EQ(paths_of("file-root:./etc/certs/root.pem"), std::vector<std::string>{"/etc/certs/root.pem"});
}

TEST_F(FileNamesTest, FilesAreFollowedAndWhatDoesNotFitChangesNothing) {
  AsioLoop loop;
  InlineWorker worker;
  Health health;
  FileSecrets::Options options;
  options.access = access;
  options.settle = options.again = std::chrono::milliseconds(10);
  FileSecrets under_test(loop, worker, health, options);
  std::vector<std::string> changed;
  under_test.on_change([&](const std::string& name) { changed.push_back(name); });
  const std::string name = cert_in("allowed");
  const auto until = [&](const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!holds() && std::chrono::steady_clock::now() < end)
      loop.context().run_one_for(std::chrono::milliseconds(50));
    return holds();
  };
  under_test.want({name, "default"});
  EXPECT_TRUE(until([&] { return changed.size() == 1; }));
  EXPECT_EQ(under_test.find(name)->chain_pem, one->chain_pem);
  write(folder.at("allowed/cert.pem"), two->chain_pem);
  EXPECT_TRUE(until([&] { return health.id == "HWS-SDS-006"; }));
  EXPECT_EQ(under_test.find(name)->chain_pem, one->chain_pem);
  EXPECT_THAT(health.text, HasSubstr("key.pem isn't the key of"));
  write(folder.at("allowed/key.pem"), two->key_pem.reveal());
  EXPECT_TRUE(until([&] { return changed.size() == 2; }));
  EXPECT_EQ(under_test.find(name)->chain_pem, two->chain_pem);
  EXPECT_EQ(health.last, HealthState::kOk);
  under_test.want({});
  EXPECT_EQ(under_test.find(name), nullptr);
}

}  // namespace
}  // namespace hawser::sds
