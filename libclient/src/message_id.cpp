// Ids come from a block of random bytes that each thread keeps: asking OpenSSL for 4 KiB at a time
// makes an id about ten times cheaper than asking for 16 bytes. Boost.UUID turns the bytes into a
// version 4 UUID. The block never outlives a fork: a child that went on with a copy of its parent's
// block would create its parent's ids.
#include <ackbus/message_id.hpp>
//
#include <openssl/rand.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <boost/uuid/random_generator.hpp>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace ackbus {
namespace {

constexpr std::size_t kBlockBytes = 4096;
// The longest JSON text that is worth parsing: every character escaped as \uXXXX, quotes, and some
// white space.
constexpr std::size_t kJsonLengthMax = 512;

// Moves on in every child process. A block remembers the generation it was filled in; 0 is none, so
// a new block is empty.
std::atomic<std::uint32_t> fork_generation{1};

[[noreturn]] void end_process(const char* reason) {
  std::fprintf(stderr, "ackbus: cannot create a message id: %s\n", reason);
  std::abort();
}

void begin_new_generation() {
  // relaxed because: a forked child has one thread, and it is the one that runs this.
  fork_generation.fetch_add(1, std::memory_order_relaxed);
}

bool watch_forks() {
  if (pthread_atfork(nullptr, nullptr, begin_new_generation) != 0) {
    end_process("no memory to register the fork handler");
  }
  return true;
}

// The random source that Boost.UUID draws from: one thread's block.
class RandomBlock {
 public:
  using result_type = std::uint64_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }

  result_type operator()() {
    // relaxed because: only a fork changes it, and a child starts with what the forking thread saw.
    const std::uint32_t generation = fork_generation.load(std::memory_order_relaxed);
    if (next_ == kWords || generation != generation_) {
      refill();
    }
    return words_[next_++];
  }

 private:
  static constexpr std::size_t kWords = kBlockBytes / sizeof(result_type);

  void refill() {
    // Before the generation is read, so that no fork slips in unseen.
    [[maybe_unused]] static const bool watching = watch_forks();
    generation_ = fork_generation.load(std::memory_order_relaxed);  // relaxed because: as above.
    if (RAND_bytes(reinterpret_cast<unsigned char*>(words_.data()), kBlockBytes) != 1) {
      end_process("OpenSSL's RAND_bytes failed, the system gives no randomness");
    }
    next_ = 0;
  }

  std::array<result_type, kWords> words_{};
  std::size_t next_ = kWords;
  std::uint32_t generation_ = 0;
};

MessageId from_uuid(const boost::uuids::uuid& uuid) {
  static_assert(sizeof(uuid.data) == MessageId::kByteCount);
  MessageId::Bytes bytes;
  std::copy_n(uuid.data, bytes.size(), bytes.begin());
  return MessageId::from_bytes(bytes);
}

}  // namespace

MessageId MessageId::create() noexcept {
  // The generator owns its block and allocates once, so each thread keeps one.
  thread_local boost::uuids::basic_random_generator<RandomBlock> generator;
  return from_uuid(generator());
}

std::optional<MessageId> MessageId::parse(std::string_view text) {
  // Boost also reads braces and texts without dashes, but at 36 characters only the plain form is
  // left.
  if (text.size() != kTextLength) {
    return std::nullopt;
  }
  try {
    return from_uuid(boost::uuids::string_generator()(text.begin(), text.end()));
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

std::string MessageId::to_string() const {
  boost::uuids::uuid uuid;
  std::copy(bytes_.begin(), bytes_.end(), uuid.data);
  return boost::uuids::to_string(uuid);
}

std::string MessageId::to_json() const { return '"' + to_string() + '"'; }

std::optional<MessageId> MessageId::from_json(std::string_view text) {
  if (text.size() > kJsonLengthMax) {
    return std::nullopt;
  }
  const auto document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_string()) {
    return std::nullopt;
  }
  return parse(document.get_ref<const std::string&>());
}

}  // namespace ackbus
