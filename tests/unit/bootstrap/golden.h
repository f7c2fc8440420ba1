// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

// Compares with tests/unit/bootstrap/golden/<name>; HAWSER_REGEN_GOLDEN=1 writes the file anew, to be reviewed as a
// diff.
namespace hawser::bootstrap {

inline std::string slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline void expect_golden(const std::string& name, const std::string& text) {
  const char* source = std::getenv("HAWSER_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "run it by ctest";
  const std::string path = std::string(source) + "/tests/unit/bootstrap/golden/" + name;
  if (std::getenv("HAWSER_REGEN_GOLDEN") != nullptr) std::ofstream(path) << text;
  EXPECT_EQ(text, slurp(path)) << path << " differs; HAWSER_REGEN_GOLDEN=1 writes it anew";
}

// A folder of its own, gone with the test.
class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "hawser-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string file(const std::string& name, const std::string& content) const {
    const std::filesystem::path path = std::filesystem::path(path_) / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << content;
    return path.string();
  }

 private:
  std::string path_;
};

}  // namespace hawser::bootstrap
