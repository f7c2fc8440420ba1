// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "certs/ca_chain.h"
#include "certs/ca_client.h"

namespace hawser::certs {

// What: a CA behind a program of the operator's: the certificate request goes to its standard input, its standard
// output is the certificate, leaf first, as PEM. What is its own issuer there is the root, else `roots` is. How it
// proves who this host is, is the program's own business: neither token nor key are given to it. Threading: on the
// loop; the program is waited for by a worker of its own, so that it holds up nothing else; cancel() kills it. Failure:
// HWS-CA-017 no roots, -020 the program failed (base/command.h has the causes), -021 what it wrote isn't a certificate.
class ExecCa final : public CaClient {
 public:
  struct Options {
    std::vector<std::string> command;
    std::map<std::string, std::string> environment;  // besides HAWSER_SPIFFE_ID and HAWSER_TTL_SECONDS
    std::chrono::milliseconds timeout{30'000};
    std::function<KnownRoots()> roots;
  };

  ExecCa(Loop& loop, Options options);
  ~ExecCa() override;
  ExecCa(const ExecCa&) = delete;
  ExecCa& operator=(const ExecCa&) = delete;

  Traits traits() const override { return {"exec", false, false}; }
  void sign(Request request, Done done) override;
  void cancel() override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace hawser::certs
