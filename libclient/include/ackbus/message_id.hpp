// MessageId: the name of a message, unique everywhere; it goes into logs, dead letters and whatever
// correlates a message with its ack. It says nothing about delivery, which is fenced by sequence
// and attempt. A plain value of 16 bytes: copies are independent, and any thread may create, read
// and compare ids without locking. Aligned so that two loads bring it.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ackbus {

class alignas(8) MessageId {
 public:
  static constexpr std::size_t kByteCount = 16;   // of the id itself
  static constexpr std::size_t kTextLength = 36;  // characters of its text form
  using Bytes = std::array<std::uint8_t, kByteCount>;

  // The nil id: 16 zero bytes, which names no message.
  constexpr MessageId() = default;

  // A new random (version 4) UUID of RFC 4122, 122 random bits from OpenSSL's generator. Any thread
  // may call it at any time, also in the child after fork: parent and child never give the same id.
  // Not for signal handlers, nor for destructors of thread-local objects. When the system has no
  // randomness the process ends with the reason on standard error, because an id that repeats would
  // mix up two messages.
  [[nodiscard]] static MessageId create() noexcept;

  // Reads the text form: exactly 36 characters, 8-4-4-4-12 hexadecimal digits in either case.
  // Anything else, braces and surrounding spaces included, gives nothing. Ids of other versions and
  // the nil id are well-formed and are accepted.
  [[nodiscard]] static std::optional<MessageId> parse(std::string_view text);

  // The id of these 16 bytes, in the order in which the text shows them. Every value is accepted.
  [[nodiscard]] static constexpr MessageId from_bytes(const Bytes& bytes) {
    MessageId id;
    id.bytes_ = bytes;
    return id;
  }

  // Reads a JSON document that is one string in the form that parse() accepts, else gives nothing.
  [[nodiscard]] static std::optional<MessageId> from_json(std::string_view text);

  // The 16 bytes, in the order of the text; valid as long as this id.
  [[nodiscard]] constexpr const Bytes& bytes() const { return bytes_; }
  [[nodiscard]] constexpr bool is_nil() const { return bytes_ == Bytes{}; }

  // The text form in lower case, 36 characters.
  [[nodiscard]] std::string to_string() const;

  // The text form as a JSON string, quotes included: 38 characters.
  [[nodiscard]] std::string to_json() const;

  // Orders by bytes, which is the order of the text forms. Random ids carry no time, so it is an
  // order of names only.
  friend constexpr auto operator<=>(const MessageId&, const MessageId&) = default;

 private:
  Bytes bytes_{};
};

}  // namespace ackbus

// Random ids are their own hash: the two halves, combined.
template <>
struct std::hash<ackbus::MessageId> {
  [[nodiscard]] std::size_t operator()(const ackbus::MessageId& id) const noexcept {
    std::array<std::uint64_t, 2> halves{};
    static_assert(sizeof(halves) == ackbus::MessageId::kByteCount);
    std::memcpy(halves.data(), id.bytes().data(), sizeof(halves));
    return static_cast<std::size_t>(halves[0] ^ halves[1]);
  }
};
