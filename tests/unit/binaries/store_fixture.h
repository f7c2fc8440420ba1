// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "proxy/binary_folder.h"

namespace hawser::binaries {

// A state folder `proxy` with a store in it, gone with the test.
class StoreTest : public testing::Test {
 protected:
  static std::string make() {
    std::string name = (std::filesystem::temp_directory_path() / "hawser-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    // Another user runs what is in it.
    ::chmod(name.c_str(), 0755);
    std::filesystem::create_directories(name + "/bin");
    std::filesystem::create_directories(name + "/run");
    return name;
  }
  ~StoreTest() override { std::filesystem::remove_all(root_); }

  static std::string digest(char letter) { return std::string(64, letter); }

  std::string write(const std::string& name, const std::string& content) const {
    const std::string path = root_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << content;
    return path;
  }

  // One that was installed `age` hours ago.
  std::string add(char letter, int age) {
    const std::string path = write("bin/" + digest(letter) + "/envoy", "program");
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - std::chrono::hours(age));
    return digest(letter);
  }

  // By their letters.
  std::string left() const {
    std::string out;
    for (const auto& name : store_.list()) out += name[0];
    return out;
  }

  // All that lies in the store.
  std::vector<std::string> entries() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(root_ + "/bin"))
      out.push_back(entry.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }

  std::string root_ = make();
  proxy::BinaryFolder store_{root_ + "/bin"};
};

}  // namespace hawser::binaries
