// A message id as bytes, text and JSON. Boost.UUID reads and writes the text; the random bits come
// from OpenSSL in blocks (id_source.hpp).
#include <ackbus/message_id.hpp>
//
#include <openssl/rand.h>
#include <pthread.h>

#include <algorithm>
#include <boost/uuid/string_generator.hpp>
#include <boost/uuid/uuid.hpp>
#include <boost/uuid/uuid_io.hpp>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "libclient/src/id_source.hpp"

namespace ackbus {
namespace {

// The longest JSON text that is worth parsing: every character escaped as \uXXXX, quotes, and some
// white space.
constexpr std::size_t kJsonLengthMax = 512;

[[noreturn]] void end_process(const char* reason) {
  std::fprintf(stderr, "ackbus: cannot create a message id: %s\n", reason);
  std::abort();
}

MessageId from_uuid(const boost::uuids::uuid& uuid) {
  static_assert(sizeof(uuid.data) == MessageId::kByteCount);
  MessageId::Bytes bytes;
  std::copy_n(uuid.data, bytes.size(), bytes.begin());
  return MessageId::from_bytes(bytes);
}

}  // namespace

void IdSource::begin_new_generation() {
  // relaxed because a forked child has one thread, and it is the one that runs this
  fork_generation_.fetch_add(1, std::memory_order_relaxed);
}

bool IdSource::watch_forks() {
  if (pthread_atfork(nullptr, nullptr, begin_new_generation) != 0) {
    end_process("no memory to register the fork handler");
  }
  return true;
}

void IdSource::refill() {
  // Before the generation is read, so that no fork slips in unseen.
  [[maybe_unused]] static const bool watching = watch_forks();
  generation_ = fork_generation_.load(std::memory_order_relaxed);  // relaxed because: as in next()
  std::array<MessageId::Bytes, kIds> blocks;
  static_assert(sizeof(blocks) == kBlockBytes);
  if (RAND_bytes(blocks[0].data(), kBlockBytes) != 1) {
    end_process("OpenSSL's RAND_bytes failed, the system gives no randomness");
  }
  for (std::size_t i = 0; i < kIds; ++i) {
    blocks[i][6] = static_cast<std::uint8_t>((blocks[i][6] & 0x0fU) | 0x40U);  // version 4
    blocks[i][8] =
        static_cast<std::uint8_t>((blocks[i][8] & 0x3fU) | 0x80U);  // variant of RFC 4122
    ids_[i] = MessageId::from_bytes(blocks[i]);
  }
  next_ = 0;
}

MessageId MessageId::create() noexcept {
  thread_local IdSource source;
  return source.next();
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
