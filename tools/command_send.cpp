#include "tools/command_send.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "shm_layout/limits.hpp"
#include "shm_layout/segment.hpp"
#include "tools/status_view.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

constexpr std::chrono::seconds kCommitTimeout{10};
constexpr std::uint64_t kArenaReserveBytes = 64 << 10;

// An open descriptor that is closed when it goes; standard input is left open.
class InputFile {
 public:
  explicit InputFile(const std::string& path)
      : owned_(!path.empty() && path != "-"),
        descriptor_(owned_ ? open(path.c_str(), O_RDONLY | O_CLOEXEC) : STDIN_FILENO) {}
  ~InputFile() {
    if (owned_ && descriptor_ >= 0) {
      close(descriptor_);
    }
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  [[nodiscard]] int descriptor() const { return descriptor_; }

 private:
  bool owned_;
  int descriptor_;
};

FileError unreadable(const std::string& path, const std::string& why) {
  return {FileErrorCode::kUnreadable, (path.empty() ? "standard input" : path) + ": " + why};
}

// Fills `out` as far as the input goes; the number of bytes, or the error.
FileResult<std::size_t> read_into(int descriptor, std::span<std::byte> out,
                                  const std::string& path) {
  std::size_t filled = 0;
  while (filled < out.size()) {
    const ssize_t got = read(descriptor, out.data() + filled, out.size() - filled);
    if (got == 0) {
      break;
    }
    if (got < 0 && errno != EINTR) {
      return unreadable(path, std::strerror(errno));
    }
    filled += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  return filled;
}

// Everything that standard input (or a pipe named as a file) brings.
FileResult<std::vector<std::byte>> read_stream(int descriptor, const std::string& path) {
  constexpr std::size_t kPieceBytes = 1 << 20;
  std::vector<std::byte> payload;
  while (payload.size() <= kStandardInputBytesMax) {
    const std::size_t before = payload.size();
    payload.resize(before + kPieceBytes);
    const FileResult<std::size_t> got =
        read_into(descriptor, std::span(payload).subspan(before), path);
    if (!got.ok()) {
      return got.error();
    }
    payload.resize(before + got.value());
    if (got.value() < kPieceBytes) {
      return payload;
    }
  }
  return FileError{FileErrorCode::kTooLarge, "standard input is larger than " +
                                                 format_bytes(kStandardInputBytesMax) +
                                                 ": put it into a file and name it with --file"};
}

// The payload: in memory already, or a regular file of known size to be read into the arena.
struct Payload {
  std::vector<std::byte> bytes;
  std::uint64_t size = 0;
  bool in_file = false;
};

FileResult<Payload> measure_payload(const InputFile& input, const std::string& path) {
  if (input.descriptor() < 0) {
    return unreadable(path, std::strerror(errno));
  }
  struct stat facts {};
  if (fstat(input.descriptor(), &facts) != 0) {
    return unreadable(path, std::strerror(errno));
  }
  if (S_ISDIR(facts.st_mode)) {
    return unreadable(path, "is a folder: name a file");
  }
  if (S_ISREG(facts.st_mode) && !path.empty() && path != "-") {
    return Payload{{}, static_cast<std::uint64_t>(facts.st_size), true};
  }
  FileResult<std::vector<std::byte>> bytes = read_stream(input.descriptor(), path);
  if (!bytes.ok()) {
    return bytes.error();
  }
  const std::uint64_t size = bytes.value().size();
  return Payload{std::move(bytes.value()), size, false};
}

Result<Kind> find_kind(const Producer& producer, const std::string& wanted) {
  if (const std::optional<Kind> kind = producer.kind(wanted.c_str())) {
    return *kind;
  }
  unsigned number = 0;
  const char* end = wanted.data() + wanted.size();
  const auto [stopped, error] = std::from_chars(wanted.data(), end, number);
  if (error == std::errc() && stopped == end && number >= 1 && number < layout::kKindsMax) {
    return static_cast<Kind>(number);
  }
  return Error{ErrorCode::kInvalid,
               "unknown kind '" + wanted +
                   "': name a configured kind (names are case-sensitive, for example "
                   "ComputeForces) or a number from 1 to 63"};
}

// The shortest time that the daemon has to keep for this message, so that it looks often enough; 0:
// the kinds' own.
std::uint64_t shortest_clock_ms(const SendCommandOptions& options) {
  if (options.timeout_ms == 0 || options.max_wait_ms == 0) {
    return std::max(options.timeout_ms, options.max_wait_ms);
  }
  return std::min(options.timeout_ms, options.max_wait_ms);
}

Result<Producer> connect_for(const CommonOptions& common, const SendCommandOptions& options,
                             std::uint64_t payload_bytes) {
  ProducerOptions producer;
  static_cast<ConnectOptions&>(producer) = connect_options(common);
  producer.queue = options.queue;
  producer.slots = layout::kSlotsMin;
  producer.arena_bytes = layout::align_up(payload_bytes + kArenaReserveBytes, kArenaReserveBytes);
  producer.min_timeout = std::chrono::milliseconds(shortest_clock_ms(options));
  return Producer::connect(producer);
}

SendOptions send_options(const SendCommandOptions& options) {
  SendOptions send;
  send.timeout = std::chrono::milliseconds(options.timeout_ms);
  send.max_retries = options.retries;
  send.max_wait = std::chrono::milliseconds(options.max_wait_ms);
  send.key = options.key;
  return send;
}

struct Sent {
  Result<Ticket> ticket;
  ExitCode input = ExitCode::kDone;  // not kDone: the file could not be read, and it was said
};

Sent commit_payload(Producer& producer, Kind kind, const Payload& payload, const InputFile& input,
                    const SendCommandOptions& options) {
  const Deadline deadline = std::chrono::steady_clock::now() + kCommitTimeout;
  if (!payload.in_file) {
    return {producer.send(kind, payload.bytes, deadline, send_options(options))};
  }
  Result<Loan> loan = producer.loan(kind, payload.size, deadline);
  if (!loan) {
    return {loan.error()};
  }
  const FileResult<std::size_t> filled =
      read_into(input.descriptor(), loan->bytes().first(payload.size), options.file);
  if (!filled.ok()) {
    return {Error{}, report_error(filled.error())};
  }
  if (filled.value() != payload.size) {
    return {Error{}, report_error(FileError{FileErrorCode::kTruncated,
                                            options.file + ": became shorter while it was read"})};
  }
  return {producer.commit(std::move(loan).value(), send_options(options))};
}

ExitCode await_outcome(Producer& producer, const Ticket& ticket, double wait_seconds) {
  const auto wait = std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(std::min(wait_seconds, kWaitSecondsMax)));
  const Result<Outcome> outcome = producer.wait(ticket, std::chrono::steady_clock::now() + wait);
  if (!outcome) {
    return report_error(exit_code_of(outcome.error().code),
                        outcome.error().text + ": see ackbus show " + ticket.id.to_string());
  }
  const ExitCode printed = print_text(outcome_text(ticket, outcome.value()));
  return printed == ExitCode::kDone ? exit_code_of(outcome->code) : printed;
}

}  // namespace

std::string outcome_text(const Ticket& ticket, const Outcome& outcome) {
  std::string text = ticket.id.to_string() + " " + outcome_name(outcome.code);
  if (outcome.reason != OutcomeReason::kNone) {
    text += std::string(" (") + reason_name(outcome.reason) + ")";
  }
  if (outcome.attempt != 0) {
    text += ", attempt " + std::to_string(outcome.attempt);
  }
  text += ", " + format_latency(outcome.latency_ns);
  if (!outcome.text().empty()) {
    text += ": " + printable_text(outcome.text(), layout::kAckTextBytesMax);
  }
  text += "\n";
  for (const auto& [name, value] : outcome.metadata()) {
    text += "  " + printable_text(name) + " = " + printable_text(value, 512) + "\n";
  }
  return text;
}

ExitCode run_send(const CommonOptions& common, const SendCommandOptions& options) {
  const InputFile input(options.file);
  const FileResult<Payload> payload = measure_payload(input, options.file);
  if (!payload.ok()) {
    return report_error(payload.error());
  }
  Result<Producer> producer = connect_for(common, options, payload.value().size);
  if (!producer) {
    return report_error(producer.error());
  }
  const Result<Kind> kind = find_kind(producer.value(), options.kind);
  if (!kind) {
    return report_error(kind.error());
  }
  const Sent sent = commit_payload(producer.value(), kind.value(), payload.value(), input, options);
  if (sent.input != ExitCode::kDone) {
    return sent.input;
  }
  if (!sent.ticket) {
    return report_error(sent.ticket.error());
  }
  if (options.wait_seconds <= 0.0) {
    return print_text(sent.ticket->id.to_string() + " sent\n");
  }
  return await_outcome(producer.value(), sent.ticket.value(), options.wait_seconds);
}

}  // namespace ackbus::tools
