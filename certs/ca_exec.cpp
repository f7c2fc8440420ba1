// SPDX-License-Identifier: Apache-2.0
#include "certs/ca_exec.h"

#include "base/asio_loop.h"
#include "base/command.h"

namespace hawser::certs {
namespace {

constexpr std::size_t kMaxAnswer = 1U << 20U;

Error failed(const Error& cause) {
  return Error(cause.code(), "HWS-CA-020", "ca.command: " + cause.message(), cause.hint());
}

}  // namespace

struct ExecCa::Impl : std::enable_shared_from_this<Impl> {
  Loop& loop;
  Options options;
  Done done;
  std::shared_ptr<CommandRun> run;
  std::uint64_t serial = 0;  // of the request; posts of an earlier one are ignored
  ThreadWorker worker;

  Impl(Loop& l, Options o) : loop(l), options(std::move(o)) {}

  void begin(const Request& request, Done when_done) {
    done = std::move(when_done);
    run = std::make_shared<CommandRun>();
    Command command;
    command.argv = options.command;
    command.env = options.environment;
    command.env["HAWSER_SPIFFE_ID"] = request.spiffe_id;
    command.env["HAWSER_TTL_SECONDS"] = std::to_string(request.ttl.count());
    command.input = request.csr_pem;
    command.timeout = options.timeout;
    command.max_output = kMaxAnswer;
    worker.submit([weak = weak_from_this(), id = serial, loop_ref = &loop, share = run, command = std::move(command)] {
      loop_ref->post([weak, id, output = share->run(command)] {
        if (const auto self = weak.lock(); self && self->serial == id) self->ended(output);
      });
    });
  }

  void ended(const Result<std::string>& output) {
    run.reset();
    ++serial;
    auto once = std::exchange(done, nullptr);
    once(output ? read(*output) : failed(output.error()));
  }

  Result<Answer> read(const std::string& pem) const {
    auto answer = answer_of_chain(pem, options.roots());
    if (answer || answer.error().id() != "HWS-CA-007") return answer;
    Error error(Code::kFailedPrecondition, "HWS-CA-021", "ca.command wrote no certificate that can be read",
                "let it write PEM to its standard output, the leaf first");
    if (answer.error().cause() != nullptr) error.because(*answer.error().cause());
    return error;
  }

  void stop() {
    ++serial;
    done = nullptr;
    if (run) run->cancel();
    run.reset();
  }
};

ExecCa::ExecCa(Loop& loop, Options options) : impl_(std::make_shared<Impl>(loop, std::move(options))) {}

ExecCa::~ExecCa() {
  impl_->stop();
}

void ExecCa::sign(Request request, Done done) {
  impl_->stop();
  impl_->begin(request, std::move(done));
}

void ExecCa::cancel() {
  impl_->stop();
}

}  // namespace hawser::certs
