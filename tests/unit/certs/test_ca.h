// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/loop.h"
#include "certs/identity.h"

namespace hawser::certs::test {

struct Validity {
  Loop::Wall from;
  Loop::Wall to;
};

// What: a certificate authority with a root and an intermediate, made at run time. Aborts the test program on failure.
class TestCa {
 public:
  explicit TestCa(const std::string& name);
  ~TestCa();

  const std::string& root_pem() const { return root_pem_; }
  const std::string& intermediate_pem() const { return intermediate_pem_; }

  // The leaf alone; the intermediate signed it.
  std::string sign_csr(const std::string& csr_pem, const std::string& uri, Validity validity);
  std::string server_certificate(const std::string& key_pem, const std::string& dns, Validity validity);
  // A whole identity: key, leaf + intermediate, root.
  IdentityPtr identity(const std::string& spiffe_id, Validity validity);

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
  std::string root_pem_;
  std::string intermediate_pem_;
};

// A request as OpenSSL prints it, how many subject alternative names it has, and whether its signature holds.
std::string csr_text(const std::string& csr_pem);
int csr_names(const std::string& csr_pem);
bool csr_signature_holds(const std::string& csr_pem);

inline constexpr char kSpiffe[] = "spiffe://cluster.local/ns/vms/sa/web";

inline Validity around(Loop::Wall now, std::chrono::seconds ttl = std::chrono::hours(24)) {
  return {now - std::chrono::minutes(2), now + ttl};
}

// A folder for one test, removed with it.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  const std::string& path() const { return path_; }
  std::string at(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace hawser::certs::test
