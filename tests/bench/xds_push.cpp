// SPDX-License-Identifier: Apache-2.0
//
// A control plane that pushes on command and clients of it, some direct, some through an agent, in one process, so that
// one clock times push → client for all. `./dev bench relay` and `--vs-istio` drive it (tests/bench/relay.py).
//
//   bench-xds-push --key FILE --chain FILE --root FILE --name NAME --port N --plain-port N
//
// Standard input has commands, standard output an answer of one JSON line to each:
//   connect CLIENT delta|sotw tls|plain|PATH   opens that client's stream, to itself or to the agent's socket PATH;
//                                              answers when it got clusters, or {"error": …}
//   push CLIENT BYTES COUNT                    COUNT responses, each awaited by the client; answers {"ms": [...]}
//   one CLIENT COUNT                           the same with one changed cluster each
//   drop CLIENT
//   quit
// Each push replaces all its resources by others.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <iostream>
#include <mutex>
#include <sstream>
#include <utility>

#include "envoy/config/core/v3/base.pb.h"
#include "xds/types.h"
#include "xds_messages.h"

namespace {

using namespace hawser::bench;
using hawser::xds::kClusterType;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(20);
constexpr char kAgentNode[] = "sidecar~127.0.0.1~vm.demo~demo.svc.cluster.local";

// What happened, for a thread that waits. Threading: any.
class Board {
 public:
  void set(const std::string& key, Clock::time_point at = Clock::now()) {
    std::lock_guard lock(mutex_);
    seen_[key] = at;
    changed_.notify_all();
  }
  // The first of these that happens; empty: none in time.
  std::string wait_any(const std::vector<std::string>& keys) {
    std::string found;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kPatience, [&] {
      for (const auto& key : keys) {
        if (seen_.contains(key)) found = key;
      }
      return !found.empty();
    });
    return found;
  }
  void forget(const std::vector<std::string>& keys) {
    std::lock_guard lock(mutex_);
    for (const auto& key : keys) seen_.erase(key);
  }
  Clock::time_point wait(const std::string& key) {
    if (wait_any({key}).empty()) throw std::runtime_error(key + " didn't happen");
    std::lock_guard lock(mutex_);
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
  std::map<std::string, PlaneStream*> streams;  // by name: a direct client's, "agent" or "agent-sotw"
};

class PlaneStream final : public grpc::ServerGenericBidiReactor {
 public:
  PlaneStream(Plane& plane, Variant variant) : plane_(plane), variant_(variant) { StartRead(&incoming_); }

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
    take(read_request(variant_, incoming_));
    StartRead(&incoming_);
  }
  void take(const Asked& asked) {
    if (!asked.node.empty()) {
      envoy::config::core::v3::Node node;
      node.ParseFromString(asked.node);
      name_ = node.id().starts_with("direct") ? node.id() : variant_ == Variant::kSotw ? "agent-sotw" : "agent";
      plane_.streams[name_] = this;
    }
    if (!asked.nonce.empty()) return plane_.board.set("ack " + asked.nonce);
    Push answer{asked.type, 0, 0, "#0", "first-" + asked.type + name_};
    if (asked.type == kClusterType) answer.bytes = kResourceBytes;
    if (asked.type == kClusterType || asked.type == hawser::xds::kListenerType)
      push(buffer_of(make_push(variant_, answer)));
  }
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(plane_.mutex);
    writing_ = false;
    if (ok) write_next();
  }
  void OnDone() override { delete this; }

  Plane& plane_;
  Variant variant_;
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
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new PlaneStream(plane_, context->method() == kSotwMethod ? Variant::kSotw : Variant::kDelta);
  }

 private:
  Plane& plane_;
};

struct Target {
  std::string address;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  std::string server_name;
  std::string node_id;
};

// A proxy that takes everything: notes when a response was there, then acknowledges it.
class Client final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  Client(Board& board, std::string name, Variant variant, const Target& target)
      : board_(board), name_(std::move(name)), variant_(variant) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    arguments.SetString(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, target.server_name);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ =
        std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(target.address, target.credentials, arguments));
    stub_->PrepareBidiStreamingCall(&context_, variant == Variant::kSotw ? kSotwMethod : kDeltaMethod, {}, this);
    AddHold();
    StartCall();
    StartRead(&incoming_);
    envoy::config::core::v3::Node node;
    node.set_id(target.node_id);
    send({std::string(kClusterType), {}, node.SerializeAsString()}, {});
  }
  ~Client() override {
    context_.TryCancel();
    RemoveHold();
    board_.wait("gone " + name_);
  }
  Variant variant() const { return variant_; }

 private:
  void send(const Asked& asked, const std::string& version) {
    std::lock_guard lock(mutex_);
    queue_.push_back(buffer_of(make_request(variant_, asked, version)));
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
    if (!ok) return board_.set("end " + name_);
    const Seen seen = see(variant_, incoming_);
    // What is served from a cache comes in several messages.
    received_ = seen.version == version_ ? received_ + seen.resources : seen.resources;
    version_ = seen.version;
    board_.set("open " + name_);
    board_.set(name_ + " " + version_ + " " + std::to_string(received_), now);
    send({seen.type, seen.nonce, {}}, seen.version);
    StartRead(&incoming_);
  }
  void OnDone(const grpc::Status&) override { board_.set("gone " + name_); }

  Board& board_;
  std::string name_;
  Variant variant_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::GenericStub> stub_;
  std::mutex mutex_;
  std::deque<grpc::ByteBuffer> queue_;
  bool writing_ = false;
  std::string version_;  // of what came last, and how many resources it was
  std::size_t received_ = 0;
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
  explicit Bench(const std::map<std::string, std::string>& options)
      : root_(read_file(options.at("--root"))),
        server_name_(options.at("--name")),
        tls_address_("127.0.0.1:" + options.at("--port")),
        plain_address_("127.0.0.1:" + options.at("--plain-port")) {
    grpc::SslServerCredentialsOptions tls;  // client certificates aren't asked for: the direct client has none
    tls.pem_key_cert_pairs.push_back({read_file(options.at("--key")), read_file(options.at("--chain"))});
    grpc::ServerBuilder builder;
    builder.AddListeningPort(tls_address_, grpc::SslServerCredentials(tls));
    builder.AddListeningPort(plain_address_, grpc::InsecureServerCredentials());
    builder.RegisterCallbackGenericService(&service_);
    builder.SetMaxReceiveMessageSize(-1);
    server_ = builder.BuildAndStart();
    if (!server_) throw std::runtime_error("can't listen on " + tls_address_ + " and " + plain_address_);
  }
  ~Bench() {
    clients_.clear();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }

  // False: the stream ended, or nothing came.
  bool connect(const std::string& name, Variant variant, const std::string& where) {
    clients_.erase(name);
    board_.forget({"open " + name, "end " + name});
    clients_[name] = std::make_unique<Client>(board_, name, variant, target(name, where));
    const bool opened = board_.wait_any({"open " + name, "end " + name}) == "open " + name;
    if (!opened) clients_.erase(name);
    return opened;
  }
  void drop(const std::string& name) { clients_.erase(name); }

  std::vector<double> push(const std::string& name, std::size_t bytes, int count) {
    std::vector<double> out;
    for (int i = 0; i < count; ++i) out.push_back(push_once(name, bytes, 0));
    return out;
  }
  std::vector<double> one(const std::string& name, int count) {
    std::vector<double> out;
    for (int i = 0; i < count; ++i) out.push_back(push_once(name, 1, static_cast<std::size_t>(i)));
    return out;
  }

 private:
  Target target(const std::string& name, const std::string& where) const {
    if (where == "plain") return {plain_address_, grpc::InsecureChannelCredentials(), server_name_, name};
    if (where != "tls") return {"unix:" + where, grpc::InsecureChannelCredentials(), "localhost", kAgentNode};
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = root_;
    return {tls_address_, grpc::SslCredentials(tls), server_name_, name};
  }

  double push_once(const std::string& name, std::size_t bytes, std::size_t from) {
    const auto client = clients_.find(name);
    if (client == clients_.end()) throw std::runtime_error("no client " + name);
    const Variant variant = client->second->variant();
    ++turn_;
    const std::string nonce = "push-" + std::to_string(turn_);
    const std::string version = "#" + std::to_string(turn_);
    grpc::ByteBuffer buffer = buffer_of(make_push(variant, {std::string(kClusterType), bytes, from, version, nonce}));
    const std::size_t resources = see(variant, buffer).resources;
    Clock::time_point begin;
    {
      std::lock_guard lock(plane_.mutex);
      const auto stream = plane_.streams.find(stream_of(name, variant));
      if (stream == plane_.streams.end()) throw std::runtime_error("no stream of " + name);
      begin = Clock::now();
      stream->second->push(buffer);
    }
    const auto end = board_.wait(name + " " + version + " " + std::to_string(resources));
    board_.wait("ack " + nonce);
    return std::chrono::duration<double, std::milli>(end - begin).count();
  }
  static std::string stream_of(const std::string& name, Variant variant) {
    if (name.starts_with("direct")) return name;
    return variant == Variant::kSotw ? "agent-sotw" : "agent";
  }

  Board board_;
  Plane plane_{board_, {}, {}};
  PlaneService service_{plane_};
  std::string root_;
  std::string server_name_;
  std::string tls_address_;
  std::string plain_address_;
  std::unique_ptr<grpc::Server> server_;
  std::map<std::string, std::unique_ptr<Client>> clients_;
  int turn_ = 0;
};

void answer(const std::vector<double>& times) {
  std::cout << "{\"ms\": [";
  for (std::size_t i = 0; i < times.size(); ++i) std::cout << (i > 0 ? ", " : "") << times[i];
  std::cout << "]}" << std::endl;
}

void serve(Bench& bench) {
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string verb, name, variant, where;
    std::size_t bytes = 0;
    int count = 0;
    words >> verb >> name;
    if (verb == "quit") return;
    if (verb == "connect" && words >> variant >> where) {
      const bool connected = bench.connect(name, variant == "sotw" ? Variant::kSotw : Variant::kDelta, where);
      std::cout << (connected ? "{}" : "{\"error\": \"no clusters came\"}") << std::endl;
    } else if (verb == "drop") {
      bench.drop(name);
      std::cout << "{}" << std::endl;
    } else if (verb == "push" && words >> bytes >> count) {
      answer(bench.push(name, bytes, count));
    } else if (verb == "one" && words >> count) {
      answer(bench.one(name, count));
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
