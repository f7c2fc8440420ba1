// SPDX-License-Identifier: Apache-2.0
// What may lie in the identity's folder after a bad disk, another version or another hand: bytes say which files are
// there and what is in them. Whatever it is, the store opens, tells, and takes a new identity.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "certs/csr.h"
#include "certs/key_store.h"
#include "targets.h"

namespace hawser::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFiles[] = {"gen-1/key.pem",   "gen-1/cert-chain.pem", "gen-1/roots.pem",   "gen-1/meta.json",
                                  "gen-2/meta.json", "gen-2/key.pem",        "damaged-1/key.pem", "token"};
// Where `current` may lead.
constexpr const char* kLinks[] = {
    "gen-1", "gen-2", "gen-9", "gen-x", "../gen-1", "damaged-1", "gen-18446744073709551615"};

// In memory: the store syncs each file, and there are thousands of runs.
struct Scratch {
  Scratch() {
    const fs::path memory = "/dev/shm";
    path = ((fs::is_directory(memory) ? memory : fs::temp_directory_path()) / "hawser-fuzz-XXXXXX").string();
    require(::mkdtemp(path.data()) != nullptr, "a folder can be made");
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  std::string path;
};

// Each piece: which file, its length in two bytes, its content.
void lay_out(const std::string& at, std::string_view bytes) {
  for (const char* name : {"gen-1", "gen-2", "damaged-1"}) fs::create_directories(at + "/" + name);
  while (bytes.size() >= 3) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    const std::string path = at + "/" + kFiles[byte(0) % std::size(kFiles)];
    const std::size_t length = byte(1) + 256U * byte(2);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes.substr(3, length);
    if (byte(0) >= 128) ::chmod(path.c_str(), 0644);
    bytes.remove_prefix(std::min(bytes.size(), 3 + length));
  }
}

}  // namespace

void key_store(std::string_view bytes) {
  if (bytes.empty()) return;
  static const Scratch scratch;
  const std::string at = scratch.path + "/store";
  fs::remove_all(at);
  fs::create_directories(at);
  lay_out(at, bytes.substr(1));
  if (const std::size_t which = static_cast<unsigned char>(bytes[0]) % 8; which < std::size(kLinks))
    fs::create_symlink(kLinks[which], at + "/current");

  auto store = certs::KeyStore::open(at);
  require(store.has_value(), "a store opens, whatever is in it");
  const auto loaded = store->load();
  require(!loaded.identity || !loaded.identity->spiffe_id.empty(), "what is taken is whole");
  for (const auto& note : loaded.notes) require(!note.id().empty(), "what is told has an id");
  const auto again = store->load();
  require((again.identity == nullptr) == (loaded.identity == nullptr), "a second look sees the same");
  require(store->store_token("new").has_value(), "a token is taken");
  require(store->erase().has_value(), "all of it can be erased");
  require(!store->load().identity, "and is gone then");
}

}  // namespace hawser::fuzz
