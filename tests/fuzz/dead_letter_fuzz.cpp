// Dead-letter files as the daemon reads them: torn, damaged, forged, in a whole directory of them.
// Data flow: letters are packed soundly, changed in any field, sealed with right sums or not, cut
// off, and put into a directory in memory under sound and unsound names; the store opens it, lists,
// reads, redrives and purges. Checked: what is given out satisfies the format, the figures agree
// with the list, and nothing outside the directory is touched. One thread.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <set>
#include <tuple>
#include <vector>

#include "daemon/dead_letter_file.hpp"
#include "daemon/dead_letters.hpp"
#include "tests/fuzz/input.hpp"

namespace ackbus::daemon {
namespace {

using fuzz::Input;

const std::string& folder() {
  static const std::string made = [] {
    std::string name =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/ackbus-fuzz-XXXXXX" : "/tmp/ackbus-fuzz-XXXXXX";
    ACKBUS_ASSERT(::mkdtemp(name.data()) != nullptr);
    static const std::string kept = name;
    ::atexit([] {
      std::error_code ignored;
      std::filesystem::remove_all(kept, ignored);
    });
    return kept;
  }();
  return made;
}

LetterId letter_id(Input& input) {
  LetterId id{};
  id[15] = static_cast<std::uint8_t>(input.below(6));  // Few ids, so that letters meet.
  return id;
}

Letter sound_letter(Input& input) {
  Letter letter;
  letter.id = letter_id(input);
  letter.origin_id = input.flag() ? letter_id(input) : LetterId{};
  letter.bus = "default";
  letter.queue = input.text(70);
  letter.kind_name = input.text(20);
  letter.detail = input.text(130);
  letter.kind_id = static_cast<std::uint32_t>(1 + input.below(63));
  letter.reason = static_cast<DeathReason>(1 + input.below(5));
  letter.link_id = input.byte();
  letter.sequence = input.word(7);
  letter.attempts = static_cast<std::uint32_t>(input.word(3));
  letter.sender_uid = static_cast<std::uint32_t>(1000 + input.below(2));
  letter.supersede_key = input.word(0);
  letter.timeout_ns = input.word(5'000'000'000);
  letter.max_retries = static_cast<std::uint32_t>(input.word(3));
  letter.exhausted = {input.byte(), input.word(1'700'000'000'000'000'000)};
  letter.attempt_times.resize(input.below(kLetterAttemptTimes + 2));
  letter.history.resize(input.below(kLetterHistory + 2));
  for (PreviousDeath& death : letter.history) {
    death = {letter_id(input), input.byte(), 1, static_cast<std::uint32_t>(1 + input.below(5))};
  }
  return letter;
}

std::uint32_t crc_of(const void* bytes, std::size_t count) {
  return static_cast<std::uint32_t>(
      ::crc32(0, static_cast<const Bytef*>(bytes), static_cast<uInt>(count)));
}

void seal(LetterHeader& header, const std::vector<std::byte>& payload) {
  header.payload_crc32 = crc_of(payload.data(), payload.size());
  header.header_crc32 = 0;
  const std::uint8_t late = header.late_success;
  header.late_success = 0;
  header.header_crc32 = crc_of(&header, sizeof(header));
  header.late_success = late;
}

std::vector<std::byte> letter_file(Input& input) {
  const auto raw = input.bytes(input.below(64));
  std::vector<std::byte> payload(raw.begin(), raw.end());
  LetterHeader header = pack_letter(sound_letter(input));
  header.payload_bytes = payload.size();
  header.stored_bytes = payload.size();
  for (std::uint64_t left = input.below(4); left > 0; --left) {
    const std::size_t at = input.below(sizeof(header));
    const std::uint64_t value = input.word(payload.size());
    std::memcpy(reinterpret_cast<std::byte*>(&header) + at, &value,
                std::min<std::size_t>(input.flag() ? 8 : 1, sizeof(header) - at));
  }
  if (input.below(8) != 0) {
    seal(header, payload);
  }
  std::vector<std::byte> file(sizeof(header) + payload.size());
  std::memcpy(file.data(), &header, sizeof(header));
  std::copy(payload.begin(), payload.end(), file.begin() + sizeof(header));
  if (input.below(6) == 0) {
    file.resize(input.below(file.size() + 16));
  }
  return file;
}

std::string file_name(Input& input, const std::vector<std::byte>& file) {
  LetterHeader header{};
  std::memcpy(&header, file.data(), std::min(file.size(), sizeof(header)));
  switch (input.below(8)) {
    case 0:
      return redriven_file_name(header.message_id, letter_id(input));
    case 1:
      return letter_file_name(letter_id(input));
    case 2:
      return letter_file_name(header.message_id) + ".tmp";
    case 3:
      return letter_file_name(header.message_id) + kBadSuffix;
    default:
      return letter_file_name(header.message_id);
  }
}

void put(const std::string& name, const std::vector<std::byte>& bytes) {
  std::ofstream file(folder() + "/dead/" + name, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

void check_letter(const Letter& letter) {
  ACKBUS_ASSERT(letter.queue.size() <= 64 && letter.kind_name.size() <= 64);
  ACKBUS_ASSERT(letter.bus.size() <= 32 && letter.detail.size() <= 120);
  ACKBUS_ASSERT(letter.attempt_times.size() <= kLetterAttemptTimes);
  ACKBUS_ASSERT(letter.history.size() <= kLetterHistory);
  ACKBUS_ASSERT(std::string(to_text(letter.reason)) != "unknown");
}

// The file's own reader, on each file by its name.
void read_files(const std::vector<std::string>& names) {
  const UniqueFd directory(
      ::open((folder() + "/dead").c_str(), O_DIRECTORY | O_RDONLY | O_CLOEXEC));
  for (const std::string& name : names) {
    std::vector<std::byte> payload;
    const Result<Letter> whole = read_letter_file(directory.get(), name, &payload);
    const Result<Letter> header = read_letter_header(directory.get(), name);
    if (whole) {
      check_letter(whole.value());
      ACKBUS_ASSERT(header.ok() && header.value() == whole.value());
      ACKBUS_ASSERT(payload.size() ==
                    (whole.value().payload_stored ? whole.value().payload_bytes : 0));
      const LetterHeader packed = pack_letter(whole.value());  // Text and lists survive a rewrite.
      ACKBUS_ASSERT(packed.message_id == whole.value().id);
    }
  }
}

DeadLetterFilter filter(Input& input) {
  DeadLetterFilter made;
  if (input.flag()) made.id = letter_id(input);
  if (input.below(4) == 0) made.queue = input.text(4);
  if (input.below(4) == 0) made.kind_id = static_cast<std::uint32_t>(1 + input.below(63));
  if (input.below(4) == 0) made.reason = static_cast<DeathReason>(1 + input.below(5));
  if (input.below(4) == 0) made.sender_uid = static_cast<std::uint32_t>(1000 + input.below(2));
  if (input.below(4) == 0) made.older_than_realtime_ns = input.word(1'700'000'000'000'000'000);
  return made;
}

void check_store(DeadLetters& store) {
  const std::vector<Letter> letters = store.list({}, 100);
  const DeadLetterStats stats = store.stats();
  ACKBUS_ASSERT(letters.size() <= stats.total.letters);  // One may just have been moved aside.
  std::uint64_t by_uid = 0;
  for (const auto& [uid, amount] : stats.by_uid) by_uid += amount.letters;
  ACKBUS_ASSERT(by_uid == stats.total.letters);
  std::set<LetterId> seen;
  for (const Letter& letter : letters) {
    check_letter(letter);
    ACKBUS_ASSERT(seen.insert(letter.id).second && store.exists(letter.id));
  }
}

void use_store(Input& input, DeadLetters& store) {
  for (int operation = 0; operation < 12 && !input.empty(); ++operation) {
    switch (input.below(8)) {
      case 0:
        if (const Result<StoredLetter> read = store.read(letter_id(input))) {
          check_letter(read.value().letter);
        }
        break;
      case 1:
        if (const auto out = store.begin_redrive(letter_id(input), letter_id(input))) {
          check_letter(out.value().letter);
        }
        break;
      case 2:
        std::ignore = store.end_redrive(letter_id(input), input.flag());
        break;
      case 3:
        std::ignore = store.remove(letter_id(input));
        break;
      case 4:
        std::ignore = store.mark_late_success(letter_id(input));
        break;
      case 5:
        std::ignore = store.purge(filter(input));
        break;
      case 6: {
        const Letter letter = sound_letter(input);
        const auto payload = input.bytes(input.below(32));
        const Result<void> written = store.write(letter, payload, [&] { return true; });
        ACKBUS_ASSERT(!written.ok() || store.exists(letter.id));
        break;
      }
      default:
        check_store(store);
    }
  }
  check_store(store);
}

}  // namespace
}  // namespace ackbus::daemon

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ackbus::daemon;  // NOLINT(google-build-using-namespace)
  ackbus::fuzz::Input input(data, size);
  std::filesystem::remove_all(folder() + "/dead");
  ACKBUS_ASSERT(::mkdir((folder() + "/dead").c_str(), 0700) == 0);
  std::vector<std::string> names;
  for (std::uint64_t files = input.below(5); files > 0; --files) {
    const std::vector<std::byte> file = letter_file(input);
    names.push_back(file_name(input, file));
    put(names.back(), file);
  }
  read_files(names);
  DeadLetterLimits limits;
  limits.max_letters = 1 + input.below(16);
  limits.max_bytes = input.word(8192);
  limits.payload_limit_bytes = input.byte();
  for (int life = 0; life < 2; ++life) {  // A second daemon finds what the first one left.
    Result<std::unique_ptr<DeadLetters>> store = DeadLetters::open(folder() + "/dead", limits);
    if (store) {
      use_store(input, *store.value());
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    ACKBUS_ASSERT(entry.path().filename() == "dead");
  }
  return 0;
}
