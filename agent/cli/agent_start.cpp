// SPDX-License-Identifier: Apache-2.0
#include "cli/agent_start.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "cli/admin_call.h"
#include "hawser/admin.pb.h"

namespace hawser::cli {
namespace {

constexpr int kAnswerMs = 35000;  // socket activation may start hawserd first; TimeoutStartSec= is 30 s

Status ask(const Context& context) {
  admin::v1::Request request;
  request.mutable_status();
  auto answer = admin_call(context, request, kAnswerMs);
  if (!answer) return answer.error();
  return {};
}

Status start_units() {
  const char* arguments[] = {"systemctl",
                             "start",
                             "hawser-broker.socket",
                             "hawser-xds.socket",
                             "hawser-sds.socket",
                             "hawser-admin.socket",
                             "hawser-broker.service",
                             "hawser.service",
                             nullptr};
  pid_t child = 0;
  const int failed =
      ::posix_spawnp(&child, "systemctl", nullptr, nullptr, const_cast<char* const*>(arguments), environ);
  int status = -1;
  if (failed == 0)
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
  if (failed == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Error(Code::kUnavailable, "HWS-CLI-009",
               failed != 0 ? "can't run systemctl: " + std::string(std::strerror(failed)) : "systemctl start failed",
               "systemctl status hawser.service hawser-broker.service");
}

}  // namespace

Status ensure_agent(const Context& context) {
  auto answered = ask(context);
  // Another socket than the units' is somebody's own set-up. sd_booted(3)'s test, without its library.
  if (answered || answered.error().id() != "HWS-RPC-002" || context.admin_socket != Context().admin_socket ||
      !file::exists("/run/systemd/system"))
    return answered;
  if (auto started = start_units(); !started) return started;
  return ask(context);
}

}  // namespace hawser::cli
