// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/extension_permits.h"
#include "broker/client.h"
#include "proxy/generation_host.h"

namespace hawser::proxy {

// What: GenerationHost over the broker's requests. Threading and failure: BrokerClient's; HWS-PX-009 for an answer that
// fits another question.
class BrokerHost final : public GenerationHost {
 public:
  using Call = std::function<void(const broker::v1::Request&, std::chrono::milliseconds, broker::BrokerClient::Done)>;

  // Told with each observation, before its answer: whoever starts a generation has observed just before.
  using Permitted = std::function<void(const HostPermits&)>;

  explicit BrokerHost(broker::BrokerClient& client, Permitted permitted = {});
  explicit BrokerHost(Call call, Permitted permitted = {}) : call_(std::move(call)), permitted_(std::move(permitted)) {}

  void observe(Done<std::vector<HostedGeneration>> done) override;
  std::uint64_t memory_max() const override { return *memory_max_; }
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
  Permitted permitted_;
  // Answers may come when this is gone.
  std::shared_ptr<std::uint64_t> memory_max_ = std::make_shared<std::uint64_t>(0);
};

}  // namespace hawser::proxy
