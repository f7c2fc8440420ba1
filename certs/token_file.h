// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "certs/token.h"

namespace hawser::certs {

// What: a token in a file, as `hawser join` stores it, or as somebody else puts it where identity.token.path says and
// rewrites it. Any text will do that is one word. A mode that lets others read it is set back to 0600, with a warning
// (HWS-ID-021): whoever could read it may still use it. One that a reboot takes away (in memory, or under /run or /tmp)
// is copied into durable private storage, and that copy is used when the file is gone, or older than the copy.
// Threading: see TokenSource. Failure: HWS-ID-020 when it is missing, unreadable, empty or more than one word;
// HWS-ID-048, a warning, when it can't be copied. Durability: the copy is written aside, synced and renamed.
class FileTokenSource final : public TokenSource {
 public:
  // `kept` is where the copy goes; `path` empty: that is the token.
  explicit FileTokenSource(std::string path, std::string kept = {})
      : path_(path.empty() ? kept : std::move(path)), kept_(std::move(kept)) {}
  Traits traits() const override { return {"file", false, 0}; }
  Result<Token> attest(const Challenge& challenge) override;

 private:
  Result<Token> load(const std::string& path);
  void repair_mode(const std::string& path);
  void keep(const Token& token);

  std::string path_;
  std::string kept_;
  bool told_open_ = false;
  bool told_kept_ = false;
};

// Does what is at `path` end with the machine's uptime?
bool ends_with_reboot(const std::string& path);

// Is `one` the later of the two? By when they were issued, else by when they end; none if neither tells.
std::optional<bool> is_newer(const Token& one, const Token& other);

}  // namespace hawser::certs
