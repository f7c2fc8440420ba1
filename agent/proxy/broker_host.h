// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "broker/client.h"
#include "proxy/generation_host.h"

namespace hawser::proxy {

// What: GenerationHost over the broker's requests. Threading and failure: BrokerClient's; HWS-PX-009 for an answer that
// fits another question.
class BrokerHost final : public GenerationHost {
 public:
  using Call = std::function<void(const broker::v1::Request&, std::chrono::milliseconds, broker::BrokerClient::Done)>;

  explicit BrokerHost(broker::BrokerClient& client);
  explicit BrokerHost(Call call) : call_(std::move(call)) {}

  void observe(Done<std::vector<HostedGeneration>> done) override;
  void validate(const std::string& generation, const std::string& bootstrap, const std::vector<std::string>& args,
                const std::string& binary_sha256, Done<Validation> done) override;
  void start(const std::string& generation, const std::string& bootstrap, const std::vector<std::string>& args,
             const std::string& binary_sha256, Done<StartedGeneration> done) override;
  void signal(const std::string& generation, int signal, std::function<void(Status)> done) override;
  void reap(const std::string& generation, std::chrono::milliseconds wait, Done<ReapedGeneration> done) override;
  void repair(const std::string& generation, std::function<void(Status)> done) override;
  void binaries(Done<HostedBinaries> done) override;
  void mark(const std::string& sha256, BinaryMark mark, const std::string& reason,
            std::function<void(Status)> done) override;

 private:
  Call call_;
};

}  // namespace hawser::proxy
