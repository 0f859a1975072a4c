#include "tools/layout_session.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <thread>

#include "gpu_proc/payload/kinds.hpp"
#include "shm_layout/limits.hpp"
#include "tools/text_table.hpp"

namespace ackbus::tools {
namespace {

// How long one wait lasts before the command looks at its progress bar and its patience.
constexpr std::chrono::milliseconds kWaitPiece{100};
// A message may wait this long for a GPU process that is being replaced.
constexpr std::chrono::minutes kMaxWait{10};

std::string kind_text(Kind kind) {
  return std::string(gpu::kind_name(static_cast<gpu::Kind>(kind)));
}

// What passes by itself: the daemon is restarted and the link goes on.
bool passes(ErrorCode code) {
  return code == ErrorCode::kTimeout || code == ErrorCode::kBackPressured ||
         code == ErrorCode::kDisconnected || code == ErrorCode::kNoDaemon;
}

LayoutFailure failure_of(const Error& error) { return {exit_code_of(error.code), error.text}; }

LayoutFailure failure_of(const Completion& completion) {
  const Outcome& outcome = completion.outcome;
  std::string text = kind_text(completion.kind) + " message " + completion.ticket.id.to_string() +
                     " ended " + outcome_name(outcome.code);
  if (outcome.reason != OutcomeReason::kNone) {
    text += std::string(" (") + reason_name(outcome.reason) + ")";
  }
  if (!outcome.text().empty()) {
    text += ": " + printable_text(outcome.text(), layout::kAckTextBytesMax);
  }
  return {exit_code_of(outcome.code), text};
}

void count(KindReport& report, const Outcome& outcome) {
  if (outcome.is_success()) {
    ++report.success;
  } else if (outcome.code == OutcomeCode::kFailed || outcome.code == OutcomeCode::kExhausted) {
    ++report.failure;
  }
  report.dead_lettered += outcome.code == OutcomeCode::kExhausted ? 1U : 0U;
  report.retries += outcome.attempt > 1 ? outcome.attempt - 1 : 0U;
}

}  // namespace

std::string metadata_text(const Outcome& outcome, const std::string& name) {
  for (const auto& [key, value] : outcome.metadata()) {
    if (key == name) {
      return printable_text(value);
    }
  }
  return {};
}

std::optional<double> metadata_number(const Outcome& outcome, const std::string& name) {
  const std::string text = metadata_text(outcome, name);
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

Result<LayoutSession> LayoutSession::connect(const CommonOptions& common,
                                             const LayoutSessionOptions& options) {
  const std::uint32_t window = std::clamp(options.window, 1U, kWindowMax);
  ProducerOptions producer;
  static_cast<ConnectOptions&>(producer) = connect_options(common);
  producer.client = "ackbus layout";
  producer.queue = options.queue;
  // Twice the window: a slot is free only when its ack place was taken, in order.
  producer.slots = std::max(std::bit_ceil(2 * window), layout::kSlotsMin);
  producer.arena_bytes = options.arena_bytes;
  Result<Producer> connected = Producer::connect(producer);
  if (!connected) {
    return connected.error();
  }
  return LayoutSession(std::move(connected).value(), window);
}

std::optional<LayoutFailure> LayoutSession::send(
    Kind kind, std::size_t bytes, const std::function<void(std::span<std::byte>)>& fill) {
  for (;;) {
    Result<Loan> loan = producer_.loan(kind, bytes, Clock::now() + kWaitPiece);
    if (loan) {
      fill(loan->bytes().first(bytes));
      return commit(std::move(loan).value());
    }
    if (!passes(loan.error().code)) {
      return failure_of(loan.error());
    }
    // No room: outcomes that are taken make some.
    if (std::optional<LayoutFailure> failure = take_outcomes()) {
      return failure;
    }
  }
}

std::optional<LayoutFailure> LayoutSession::send(Kind kind, std::span<const std::byte> payload) {
  return send(kind, payload.size(), [payload](std::span<std::byte> out) {
    if (!payload.empty()) {
      std::memcpy(out.data(), payload.data(), payload.size());
    }
  });
}

std::optional<LayoutFailure> LayoutSession::commit(Loan loan) {
  const Kind kind = loan.kind();
  SendOptions options;
  options.max_wait = kMaxWait;
  const Clock::time_point now = Clock::now();
  const Result<Ticket> ticket = producer_.commit(std::move(loan), options);
  if (!ticket) {
    return failure_of(ticket.error());
  }
  if (in_flight_++ == 0) {
    progress_at_ = now;  // Patience counts while something is awaited.
  }
  const auto [entry, added] = figures_.try_emplace(kind);
  Figures& figures = entry->second;
  if (added) {
    order_.push_back(kind);
    figures.first_commit = now;
    figures.first_sequence = ticket->sequence;
  }
  ++figures.report.sent;
  return std::nullopt;
}

std::optional<LayoutFailure> LayoutSession::wait_until(std::uint64_t limit,
                                                       const std::function<void()>& idle) {
  while (in_flight_ > limit) {
    if (std::optional<LayoutFailure> failure = take_outcomes()) {
      return failure;
    }
    idle();
  }
  return std::nullopt;
}

std::optional<LayoutFailure> LayoutSession::take_outcomes() {
  completions_.clear();
  const Clock::time_point asked = Clock::now();
  const Result<std::size_t> taken = producer_.wait_any(completions_, asked + kWaitPiece);
  if (!taken && !passes(taken.error().code)) {
    return failure_of(taken.error());
  }
  for (const Completion& completion : completions_) {
    if (std::optional<LayoutFailure> failure = take(completion)) {
      return failure;
    }
  }
  if (completions_.empty()) {
    // An answer that came back at once without an outcome must not become a busy loop.
    std::this_thread::sleep_until(std::min(asked + kWaitPiece, Clock::now() + kWaitPiece / 10));
    return out_of_patience("no outcome");
  }
  progress_at_ = Clock::now();
  return std::nullopt;
}

std::optional<LayoutFailure> LayoutSession::take(const Completion& completion) {
  const auto entry = figures_.find(completion.kind);
  if (entry == figures_.end() || in_flight_ == 0) {
    return LayoutFailure{ExitCode::kMismatch, "an outcome came for a message that was not sent"};
  }
  Figures& figures = entry->second;
  --in_flight_;
  last_outcome_at_ = Clock::now();
  count(figures.report, completion.outcome);
  if (!completion.outcome.is_success()) {
    return failure_of(completion);
  }
  figures.latency.record(completion.outcome.latency_ns);
  if (completion.ticket.sequence == figures.first_sequence) {
    figures.first = completion.outcome;
  }
  if (completion.ticket.sequence > figures.last_sequence) {
    figures.last_sequence = completion.ticket.sequence;
    figures.last = completion.outcome;
  }
  return std::nullopt;
}

std::optional<LayoutFailure> LayoutSession::out_of_patience(const std::string& what) const {
  if (Clock::now() - progress_at_ < kPatience) {
    return std::nullopt;
  }
  return LayoutFailure{ExitCode::kTimeout,
                       what + " came for " + std::to_string(kPatience.count()) + " s with " +
                           std::to_string(in_flight_) +
                           " messages in flight: ackbus status tells who serves the queue"};
}

std::uint64_t LayoutSession::done(Kind kind) const {
  const auto entry = figures_.find(kind);
  return entry == figures_.end() ? 0 : entry->second.latency.count();
}

double LayoutSession::seconds_since_first(Kind kind) const {
  const auto entry = figures_.find(kind);
  if (entry == figures_.end() || last_outcome_at_ < entry->second.first_commit) {
    return 0.0;
  }
  return std::chrono::duration<double>(last_outcome_at_ - entry->second.first_commit).count();
}

void LayoutSession::add_to(LayoutReport& report) const {
  for (const Kind kind : order_) {
    const Figures& figures = figures_.at(kind);
    KindReport& entry = report.kind(kind_text(kind));
    entry = figures.report;
    entry.set_latency(figures.latency);
  }
}

}  // namespace ackbus::tools
