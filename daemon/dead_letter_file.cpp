#include "daemon/dead_letter_file.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "daemon/unique_fd.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/test_points.hpp"

namespace ackbus::daemon {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

std::uint32_t crc_of(std::uint32_t crc, std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(
      crc32(crc, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

std::uint32_t crc_of_header(LetterHeader header) {
  header.header_crc32 = 0;
  header.late_success = 0;
  return crc_of(0, std::as_bytes(std::span(&header, 1)));
}

/// SHA-256 of a stream. OpenSSL's digest cannot fail here but for lack of memory.
class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    ACKBUS_ASSERT(context_ != nullptr);
    ACKBUS_ASSERT(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void add(std::span<const std::byte> bytes) {
    ACKBUS_ASSERT(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::array<std::uint8_t, 32> finish() {
    std::array<std::uint8_t, 32> digest{};
    ACKBUS_ASSERT(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
    return digest;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

Result<void> write_at(int fd, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return system_error("cannot be written", written == 0 ? ENOSPC : errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return {};
}

/// Fills `bytes` from the offset; a file that ends before is corrupt.
Result<void> read_at(int fd, std::span<std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t got = pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return system_error("cannot be read", errno);
    }
    if (got == 0) {
      return {ErrorCode::kCorrupt, "ends too early"};
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

/// Copies the payload behind the header, or only hashes it, and notes length and checksums in the
/// header. What is hashed is the private copy that is written, never the memory that its owner may
/// be changing.
Result<void> copy_payload(int fd, std::span<const std::byte> payload, bool store_payload,
                          LetterHeader& header) {
  std::vector<std::byte> piece(std::min(kPieceBytes, payload.size()));
  Sha256 sha;
  std::uint32_t crc = 0;
  for (std::size_t offset = 0; offset < payload.size(); offset += kPieceBytes) {
    const std::size_t length = std::min(kPieceBytes, payload.size() - offset);
    std::memcpy(piece.data(), payload.data() + offset, length);
    const std::span<const std::byte> copied(piece.data(), length);
    sha.add(copied);
    if (store_payload) {
      crc = crc_of(crc, copied);
      if (auto written = write_at(fd, copied, sizeof(LetterHeader) + offset); !written) {
        return written;
      }
    }
  }
  header.payload_bytes = payload.size();
  header.stored_bytes = store_payload ? payload.size() : 0;
  header.payload_crc32 = crc;
  header.payload_sha256 = sha.finish();
  return {};
}

Result<void> fill_temporary(int fd, const Letter& letter, std::span<const std::byte> payload,
                            bool store_payload, const std::function<bool()>& still_valid) {
  LetterHeader header = pack_letter(letter);
  if (auto copied = copy_payload(fd, payload, store_payload, header); !copied) {
    return copied;
  }
  if (still_valid && !still_valid()) {
    return {ErrorCode::kCancelled, "withdrawn: the message was answered meanwhile"};
  }
  header.header_crc32 = crc_of_header(header);
  if (auto written = write_at(fd, std::as_bytes(std::span(&header, 1)), 0); !written) {
    return written;
  }
  return fsync(fd) == 0 ? Result<void>() : system_error("cannot be synced", errno);
}

/// What a header must satisfy before any of its fields is used; the reason, or null.
const char* reason_against(const LetterHeader& header) {
  if (header.magic != kLetterMagic) {
    return "is no dead letter";
  }
  if (header.version != kLetterVersion || header.header_bytes != sizeof(LetterHeader)) {
    return "has a version that this daemon does not know";
  }
  if (header.header_crc32 != crc_of_header(header)) {
    return "has a damaged header";
  }
  if (header.late_success != kLetterNotLate && header.late_success != kLetterLate) {
    return "has a damaged mark";
  }
  if (header.attempt_time_count > kLetterAttemptTimes || header.history_count > kLetterHistory ||
      std::strcmp(to_text(static_cast<DeathReason>(header.reason)), "unknown") == 0) {
    return "has a header that makes no sense";
  }
  if (header.stored_bytes != 0 && header.stored_bytes != header.payload_bytes) {
    return "has lengths that make no sense";
  }
  return nullptr;
}

Result<void> check_payload(int fd, const LetterHeader& header, std::vector<std::byte>* payload) {
  if (payload != nullptr) {
    payload->clear();
    payload->reserve(header.stored_bytes);
  }
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPieceBytes, header.stored_bytes));
  std::uint32_t crc = 0;
  for (std::uint64_t offset = 0; offset < header.stored_bytes; offset += kPieceBytes) {
    const std::uint64_t length = std::min<std::uint64_t>(kPieceBytes, header.stored_bytes - offset);
    const std::span<std::byte> part(piece.data(), length);
    if (auto got = read_at(fd, part, sizeof(LetterHeader) + offset); !got) {
      return got;
    }
    crc = crc_of(crc, part);
    if (payload != nullptr) {
      payload->insert(payload->end(), part.begin(), part.end());
    }
  }
  return crc == header.payload_crc32 ? Result<void>()
                                     : Error{ErrorCode::kCorrupt, "has a damaged payload"};
}

template <std::size_t kSize>
void put_text(std::array<char, kSize>& place, const std::string& text) {
  std::copy_n(text.begin(), std::min(text.size(), kSize), place.begin());
}

template <std::size_t kSize>
std::string get_text(const std::array<char, kSize>& place) {
  return {place.begin(), std::find(place.begin(), place.end(), '\0')};
}

Error with_name(const std::string& name, const Error& error) {
  return {error.code, "dead letter " + name + " " + error.text};
}

bool is_name_of(const std::string& name, const LetterId& id) {
  const std::optional<LetterId> new_id = redriven_as(name);
  return name == (new_id ? redriven_file_name(id, *new_id) : letter_file_name(id));
}

/// Opens a file and checks everything but its payload.
Result<Letter> open_letter(int directory_fd, const std::string& name, UniqueFd& fd,
                           LetterHeader& header) {
  constexpr int kFlags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  fd.reset(openat(directory_fd, name.c_str(), kFlags));
  if (!fd.valid()) {
    return errno == ELOOP ? Error{ErrorCode::kCorrupt, "is a link"}
                          : system_error("cannot be opened", errno);
  }
  struct stat state {};
  if (fstat(fd.get(), &state) != 0 || !S_ISREG(state.st_mode)) {
    return {ErrorCode::kCorrupt, "is no regular file"};
  }
  if (auto got = read_at(fd.get(), std::as_writable_bytes(std::span(&header, 1)), 0); !got) {
    return got.error();
  }
  Result<Letter> letter = unpack_letter(header);
  const auto body_bytes = static_cast<std::uint64_t>(state.st_size) - sizeof(LetterHeader);
  if (letter && (body_bytes != header.stored_bytes || !is_name_of(name, header.message_id))) {
    return {ErrorCode::kCorrupt, "does not match its length or its name"};
  }
  return letter;
}

}  // namespace

std::string letter_file_name(const LetterId& id) { return to_text(id) + kLetterSuffix; }

std::string redriven_file_name(const LetterId& id, const LetterId& new_id) {
  return to_text(id) + "." + to_text(new_id) + kRedrivenSuffix;
}

std::optional<LetterId> redriven_as(std::string_view name) {
  const std::size_t id_length = to_text(LetterId{}).size();
  return name.size() == 2 * id_length + 1 + std::strlen(kRedrivenSuffix) &&
                 name.substr(2 * id_length + 1) == kRedrivenSuffix
             ? parse_letter_id(name.substr(id_length + 1, id_length))
             : std::nullopt;
}

LetterHeader pack_letter(const Letter& letter) {
  LetterHeader header{};
  header.magic = kLetterMagic;
  header.version = kLetterVersion;
  header.header_bytes = sizeof(LetterHeader);
  header.message_id = letter.id;
  header.origin_id = letter.origin_id;
  header.link_id = letter.link_id;
  header.sequence = letter.sequence;
  header.kind_id = letter.kind_id;
  header.reason = static_cast<std::uint32_t>(letter.reason);
  header.attempts = letter.attempts;
  header.deaths = letter.deaths;
  header.sender_uid = letter.sender_uid;
  header.sender_pid = letter.sender_pid;
  header.sent = letter.sent;
  header.first_begun = letter.first_begun;
  header.exhausted = letter.exhausted;
  header.supersede_key = letter.supersede_key;
  header.timeout_ns = letter.timeout_ns;
  header.max_retries = letter.max_retries;
  const std::size_t times = std::min(letter.attempt_times.size(), kLetterAttemptTimes);
  std::copy_n(letter.attempt_times.begin(), times, header.attempt_times.begin());
  header.attempt_time_count = static_cast<std::uint32_t>(times);
  const std::size_t deaths = std::min(letter.history.size(), kLetterHistory);
  std::copy_n(letter.history.rbegin(), deaths, header.history.rend() - static_cast<long>(deaths));
  header.history_count = static_cast<std::uint32_t>(deaths);
  put_text(header.bus, letter.bus);
  put_text(header.queue, letter.queue);
  put_text(header.kind_name, letter.kind_name);
  put_text(header.detail, letter.detail);
  header.late_success = letter.late_success ? kLetterLate : kLetterNotLate;
  return header;
}

Result<Letter> unpack_letter(const LetterHeader& header) {
  if (const char* reason = reason_against(header); reason != nullptr) {
    return {ErrorCode::kCorrupt, reason};
  }
  Letter letter;
  letter.id = header.message_id;
  letter.origin_id = header.origin_id;
  letter.link_id = header.link_id;
  letter.sequence = header.sequence;
  letter.kind_id = header.kind_id;
  letter.reason = static_cast<DeathReason>(header.reason);
  letter.attempts = header.attempts;
  letter.deaths = header.deaths;
  letter.sender_uid = header.sender_uid;
  letter.sender_pid = header.sender_pid;
  letter.sent = header.sent;
  letter.first_begun = header.first_begun;
  letter.exhausted = header.exhausted;
  letter.supersede_key = header.supersede_key;
  letter.timeout_ns = header.timeout_ns;
  letter.max_retries = header.max_retries;
  letter.attempt_times.assign(header.attempt_times.begin(),
                              header.attempt_times.begin() + header.attempt_time_count);
  letter.history.assign(header.history.begin(), header.history.begin() + header.history_count);
  letter.bus = get_text(header.bus);
  letter.queue = get_text(header.queue);
  letter.kind_name = get_text(header.kind_name);
  letter.detail = get_text(header.detail);
  letter.late_success = header.late_success == kLetterLate;
  letter.payload_bytes = header.payload_bytes;
  letter.payload_stored = header.stored_bytes == header.payload_bytes;
  letter.payload_sha256 = header.payload_sha256;
  return letter;
}

Result<void> write_letter_file(int directory_fd, const Letter& letter,
                               std::span<const std::byte> payload, bool store_payload,
                               const std::function<bool()>& still_valid) {
  const std::string name = letter_file_name(letter.id);
  const std::string temporary = to_text(letter.id) + kTemporarySuffix;
  const UniqueFd fd(openat(directory_fd, temporary.c_str(),
                           O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) {
    return with_name(name, system_error("cannot be created", errno));
  }
  Result<void> filled = fill_temporary(fd.get(), letter, payload, store_payload, still_valid);
  ACKBUS_POINT(kLetterFilled);
  if (filled && renameat(directory_fd, temporary.c_str(), directory_fd, name.c_str()) != 0) {
    filled = system_error("cannot be renamed", errno);
  }
  if (!filled) {
    unlinkat(directory_fd, temporary.c_str(), 0);
    return with_name(name, filled.error());
  }
  ACKBUS_POINT(kLetterRenamed);
  // Until the directory is synced a power cut may take the name back, so the letter does not count
  // as written.
  if (fsync(directory_fd) != 0) {
    const Error error = system_error("cannot be synced", errno);
    unlinkat(directory_fd, name.c_str(), 0);
    return with_name(name, error);
  }
  ACKBUS_POINT(kLetterSynced);
  return {};
}

Result<Letter> read_letter_file(int directory_fd, const std::string& name,
                                std::vector<std::byte>* payload) {
  UniqueFd fd;
  LetterHeader header{};
  Result<Letter> letter = open_letter(directory_fd, name, fd, header);
  if (letter) {
    if (auto checked = check_payload(fd.get(), header, payload); !checked) {
      letter = checked.error();
    }
  }
  return letter ? letter : with_name(name, letter.error());
}

Result<Letter> read_letter_header(int directory_fd, const std::string& name) {
  UniqueFd fd;
  LetterHeader header{};
  Result<Letter> letter = open_letter(directory_fd, name, fd, header);
  return letter ? letter : with_name(name, letter.error());
}

Result<void> mark_letter_file_late(int directory_fd, const std::string& name) {
  const UniqueFd fd(openat(directory_fd, name.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return with_name(name, system_error("cannot be opened", errno));
  }
  const std::byte mark{kLetterLate};
  if (auto written = write_at(fd.get(), {&mark, 1}, offsetof(LetterHeader, late_success));
      !written) {
    return with_name(name, written.error());
  }
  ACKBUS_POINT(kLateMarked);
  return fsync(fd.get()) == 0 ? Result<void>()
                              : with_name(name, system_error("cannot be synced", errno));
}

}  // namespace ackbus::daemon
