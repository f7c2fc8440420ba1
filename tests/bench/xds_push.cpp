// SPDX-License-Identifier: Apache-2.0
//
// A control plane that pushes on command and two clients of it, one direct, one through an agent, in one process, so
// that one clock times push → client for both. `./dev bench --vs-istio` drives it (tests/bench/relay.py).
//
//   bench-xds-push --key FILE --chain FILE --root FILE --port N
//
// Standard input has commands, standard output an answer of one JSON line to each:
//   connect direct | connect agent PATH     opens that client's stream; answers when it got its first clusters
//   push direct|agent BYTES COUNT           COUNT responses, each awaited by its client; answers {"ms": [...]}
//   quit
// Each response replaces all its resources; two versions of them take turns.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "envoy/config/core/v3/base.pb.h"
#include "xds/types.h"
#include "xds/wire.h"

namespace {

using namespace hawser::xds;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(20);
constexpr char kMethod[] = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
constexpr std::size_t kResourceBytes = 1100;  // about an outbound cluster of istiod's

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  if (!buffer.Dump(&slices).ok()) return out;
  for (const auto& slice : slices) out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return out;
}

grpc::ByteBuffer buffer_of(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

void put_field(std::string& out, int field, const std::string& value) {
  out.push_back(static_cast<char>(field << 3 | 2));
  for (std::size_t n = value.size();; n >>= 7) {
    out.push_back(static_cast<char>((n & 0x7f) | (n >= 0x80 ? 0x80 : 0)));
    if (n < 0x80) break;
  }
  out.append(value);
}

// A response with this many bytes of resources, all of them different from the other flavour's.
std::string make_response(std::string_view type, std::size_t bytes, char flavour, const std::string& nonce) {
  ResponseBuilder builder(type);
  for (std::size_t i = 0; builder.size() < bytes; ++i) {
    std::string any, body;
    put_field(any, 1, std::string(type));
    put_field(any, 2, std::string(kResourceBytes, flavour));
    put_field(body, 3, "outbound|80||service-" + std::to_string(i) + ".demo.svc.cluster.local");
    put_field(body, 2, any);
    builder.add(std::string(1, flavour), body);
  }
  return builder.finish(nonce);
}

// What happened, for a thread that waits. Threading: any.
class Board {
 public:
  void set(const std::string& key, Clock::time_point at = Clock::now()) {
    std::lock_guard lock(mutex_);
    seen_[key] = at;
    changed_.notify_all();
  }
  Clock::time_point wait(const std::string& key) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [&] { return seen_.contains(key); }))
      throw std::runtime_error(key + " didn't happen");
    return seen_.extract(key).mapped();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Clock::time_point> seen_;
};

class PlaneStream;

struct Plane {
  Board& board;
  std::mutex mutex;
  std::map<std::string, PlaneStream*> streams;  // by name: "direct", or "agent" for any other node
};

class PlaneStream final : public grpc::ServerGenericBidiReactor {
 public:
  explicit PlaneStream(Plane& plane) : plane_(plane) { StartRead(&incoming_); }

  // With the mutex held.
  void push(grpc::ByteBuffer message) {
    queue_.push_back(std::move(message));
    write_next();
  }

 private:
  void write_next() {
    if (writing_ || ended_ || queue_.empty()) return;
    writing_ = true;
    outgoing_.Swap(&queue_.front());
    queue_.pop_front();
    StartWrite(&outgoing_);
  }
  void OnReadDone(bool ok) override {
    std::lock_guard lock(plane_.mutex);
    if (!ok) {
      if (plane_.streams[name_] == this) plane_.streams.erase(name_);
      ended_ = true;
      Finish(grpc::Status::OK);
      return;
    }
    if (const auto request = parse_request(bytes_of(incoming_))) take(*request);
    StartRead(&incoming_);
  }
  void take(const Request& request) {
    if (!request.node.empty()) {
      envoy::config::core::v3::Node node;
      node.ParseFromString(request.node);
      name_ = node.id() == "direct" ? "direct" : "agent";
      plane_.streams[name_] = this;
    }
    if (!request.nonce.empty()) return plane_.board.set("ack " + request.nonce);
    if (request.type_url == kClusterType)
      push(buffer_of(make_response(kClusterType, kResourceBytes, '0', "first-" + name_)));
    if (request.type_url == kListenerType) push(buffer_of(ResponseBuilder(kListenerType).finish("listeners")));
  }
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(plane_.mutex);
    writing_ = false;
    if (ok) write_next();
  }
  void OnDone() override { delete this; }

  Plane& plane_;
  std::string name_;
  std::deque<grpc::ByteBuffer> queue_;
  bool writing_ = false;
  bool ended_ = false;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
};

class PlaneService final : public grpc::CallbackGenericService {
 public:
  explicit PlaneService(Plane& plane) : plane_(plane) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new PlaneStream(plane_);
  }

 private:
  Plane& plane_;
};

// A proxy that takes everything: notes when a response was there, then acknowledges it.
class Client final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Client(Board& board, std::string name, const std::string& target,
         const std::shared_ptr<grpc::ChannelCredentials>& credentials)
      : board_(board), name_(std::move(name)) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetString(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, "localhost");
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    stub_ = std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(target, credentials, arguments));
    stub_->PrepareBidiStreamingCall(&context_, kMethod, {}, this);
    AddHold();
    StartCall();
    StartRead(&incoming_);
    envoy::config::core::v3::Node node;
    node.set_id(name_ == "direct" ? name_ : "sidecar~127.0.0.1~vm.demo~demo.svc.cluster.local");
    Request request;
    request.type_url = kClusterType;
    request.node = node.SerializeAsString();
    send(request);
  }
  ~Client() override {
    context_.TryCancel();
    RemoveHold();
    board_.wait("end " + name_);
  }

 private:
  void send(const Request& request) {
    std::lock_guard lock(mutex_);
    queue_.push_back(buffer_of(build_request(request)));
    write_next();
  }
  void write_next() {
    if (writing_ || queue_.empty()) return;
    writing_ = true;
    outgoing_.Swap(&queue_.front());
    queue_.pop_front();
    StartWrite(&outgoing_);
  }
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mutex_);
    writing_ = false;
    if (ok) write_next();
  }
  void OnReadDone(bool ok) override {
    const auto now = Clock::now();
    if (!ok) return;
    grpc::ProtoBufferReader reader(&incoming_);
    const auto response = parse_response(reader);
    if (response) {
      // The agent may have nonces of its own; the version of the resources says which push it is.
      const std::string version = response->resources.empty() ? "-" : response->resources.back().version;
      board_.set(name_ + " " + version + " " + std::to_string(response->resources.size()), now);
      Request ack;
      ack.type_url = response->envelope.type_url;
      ack.nonce = response->envelope.nonce;
      send(ack);
    }
    StartRead(&incoming_);
  }
  void OnDone(const grpc::Status&) override { board_.set("end " + name_); }

  Board& board_;
  std::string name_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> queue_;
  bool writing_ = false;
  grpc::ByteBuffer incoming_;
  grpc::ByteBuffer outgoing_;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw std::runtime_error("can't read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Bench {
 public:
  Bench(const std::map<std::string, std::string>& options)
      : root_(read_file(options.at("--root"))), address_("127.0.0.1:" + options.at("--port")) {
    grpc::SslServerCredentialsOptions tls;  // client certificates aren't asked for: the direct client has none
    tls.pem_key_cert_pairs.push_back({read_file(options.at("--key")), read_file(options.at("--chain"))});
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::SslServerCredentials(tls));
    builder.RegisterCallbackGenericService(&service_);
    builder.SetMaxReceiveMessageSize(-1);
    server_ = builder.BuildAndStart();
    if (!server_) throw std::runtime_error("can't listen on " + address_);
  }
  ~Bench() {
    clients_.clear();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }

  void connect(const std::string& name, const std::string& path) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = root_;
    clients_.erase(name);
    clients_[name] = name == "direct"
                         ? std::make_unique<Client>(board_, name, address_, grpc::SslCredentials(tls))
                         : std::make_unique<Client>(board_, name, "unix:" + path, grpc::InsecureChannelCredentials());
    board_.wait(name + " 0 1");
  }

  std::vector<double> push(const std::string& name, std::size_t bytes, int count) {
    std::vector<double> out;
    for (int i = 0; i < count; ++i) {
      ++turn_;
      const std::string nonce = "push-" + std::to_string(turn_);
      const std::string version(1, turn_ % 2 == 0 ? 'a' : 'b');
      grpc::ByteBuffer buffer = buffer_of(make_response(kClusterType, bytes, version[0], nonce));
      grpc::ProtoBufferReader reader(&buffer);
      const auto size = parse_response(reader)->resources.size();
      Clock::time_point begin;
      {
        std::lock_guard lock(plane_.mutex);
        const auto stream = plane_.streams.find(name);
        if (stream == plane_.streams.end()) throw std::runtime_error("no stream of " + name);
        begin = Clock::now();
        stream->second->push(buffer);
      }
      const auto end = board_.wait(name + " " + version + " " + std::to_string(size));
      board_.wait("ack " + nonce);
      out.push_back(std::chrono::duration<double, std::milli>(end - begin).count());
    }
    return out;
  }

 private:
  Board board_;
  Plane plane_{board_, {}, {}};
  PlaneService service_{plane_};
  std::string root_;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
  std::map<std::string, std::unique_ptr<Client>> clients_;
  int turn_ = 0;
};

void serve(Bench& bench) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string verb, name, path;
    std::size_t bytes = 0;
    int count = 0;
    words >> verb >> name;
    if (verb == "quit") return;
    if (verb == "connect") {
      words >> path;
      bench.connect(name, path);
      std::cout << "{}" << std::endl;
    } else if (verb == "push" && words >> bytes >> count) {
      std::cout << "{\"ms\": [";
      const auto times = bench.push(name, bytes, count);
      for (std::size_t i = 0; i < times.size(); ++i) std::cout << (i > 0 ? ", " : "") << times[i];
      std::cout << "]}" << std::endl;
    } else {
      throw std::runtime_error("no such command: " + line);
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  Bench bench(options);
  std::cout << "{}" << std::endl;
  serve(bench);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "bench-xds-push: " << error.what() << std::endl;
  return 1;
}
