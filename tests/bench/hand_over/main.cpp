// SPDX-License-Identifier: Apache-2.0
// Load for a hand-over, and who answers it:
//   bench-hand-over serve ADDRESS HTTP-PORT GRPC-PORT TCP-PORT
//   bench-hand-over load SAMPLES-FILE KIND=ADDRESS,PORT,RATE,CONNECTIONS…
// `load` prints "up" when each kind was answered once, and JSON after its standard input was closed (tally.h).
#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>

#include "load.h"

namespace hawser::hand_over {
namespace {

namespace asio = boost::asio;

std::optional<Target> parse(const std::string& word) {
  const auto equals = word.find('=');
  Target out;
  const auto name = std::find(kKindNames.begin(), kKindNames.end(), word.substr(0, equals));
  if (equals == std::string::npos || name == kKindNames.end()) return std::nullopt;
  out.kind = static_cast<Kind>(name - kKindNames.begin());
  std::istringstream in(word.substr(equals + 1));
  std::string address;
  unsigned short port = 0;
  char comma = 0;
  std::getline(in, address, ',');
  if (!(in >> port >> comma >> out.rate >> comma >> out.connections) || out.rate <= 0) return std::nullopt;
  boost::system::error_code error;
  out.address = {asio::ip::make_address(address, error), port};
  return error ? std::nullopt : std::optional(out);
}

void tell_when_up(asio::steady_timer& timer, const Tally& tally, const std::vector<Kind>& kinds) {
  timer.expires_after(std::chrono::milliseconds(20));
  timer.async_wait([&timer, &tally, kinds](boost::system::error_code error) {
    if (error) return;
    if (!tally.all_good_once(kinds)) return tell_when_up(timer, tally, kinds);
    std::cout << "up" << std::endl;
  });
}

int load(const std::string& samples, const std::vector<Target>& targets) {
  asio::io_context io(1);
  Tally tally;
  std::vector<std::unique_ptr<Load>> calls;
  std::vector<Kind> kinds;
  for (const auto& target : targets) {
    kinds.push_back(target.kind);
    if (target.kind == Kind::kTcp)
      start_tcp(io, tally, target);
    else if (target.kind == Kind::kHttp2)
      calls.push_back(start_http2(io, tally, target));
    else if (target.kind == Kind::kStream)
      calls.push_back(start_streams(io, tally, target));
    else
      start_http(io, tally, target);
  }
  asio::steady_timer timer(io);
  tell_when_up(timer, tally, kinds);
  asio::posix::stream_descriptor input(io, 0);
  char byte = 0;
  asio::async_read(input, asio::buffer(&byte, 1), [&io](boost::system::error_code, std::size_t) { io.stop(); });
  io.run();
  const std::string seen = tally.json();  // what ends from now on, we have ended
  const bool written = tally.write_samples(samples);
  io.restart();
  for (auto& call : calls) call->stop();
  std::cout << seen << std::endl;
  return written ? 0 : 1;
}

int run(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto port = [&words](std::size_t i) { return static_cast<unsigned short>(std::atoi(words[i].c_str())); };
  if (words.size() == 5 && words[0] == "serve") return serve(words[1], port(2), port(3), port(4));
  std::vector<Target> targets;
  for (std::size_t i = 2; i < words.size() && words[0] == "load"; ++i) {
    const auto target = parse(words[i]);
    if (!target) {
      std::cerr << "not a target: " << words[i] << "\n";
      return 64;
    }
    targets.push_back(*target);
  }
  if (!targets.empty()) return load(words[1], targets);
  std::cerr << "serve ADDRESS HTTP GRPC TCP | load FILE KIND=ADDRESS,PORT,RATE,CONNECTIONS…\n";
  return 64;
}

}  // namespace
}  // namespace hawser::hand_over

int main(int argc, char** argv) {
  return hawser::hand_over::run(argc, argv);
}
