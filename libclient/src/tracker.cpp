// The tracker's two halves: State holds the messages under one mutex, Checker owns the thread that
// asks for timeouts. What is pending lies in a hash map and, by deadline, in an ordered set, so a
// check touches only what has timed out.
#include <ackbus/tracker.hpp>
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <set>
#include <stop_token>
#include <thread>
#include <unordered_map>
#include <utility>

#include "libclient/src/recent_map.hpp"
#include "shm_layout/assert.hpp"
#include "shm_layout/kinds.hpp"
#include "shm_layout/policy.hpp"

namespace ackbus {
namespace {

using std::chrono::milliseconds;

// How a message ended, for acks that come later.
enum class Ending : std::uint8_t { kByAck, kByVerdict };

// Beyond any use, and far from where adding to a time point could overflow.
constexpr milliseconds kPeriodMax = std::chrono::hours(24 * 365);

TrackerOptions clamp_periods(TrackerOptions options) {
  options.early_ack_kept = std::clamp(options.early_ack_kept, milliseconds(0), kPeriodMax);
  options.max_age = std::clamp(options.max_age, milliseconds(0), kPeriodMax);
  return options;
}

milliseconds clamp_timeout(milliseconds timeout) {
  const auto asked_ms = std::max(timeout.count(), milliseconds::rep{0});
  return milliseconds(layout::clamp_timeout_ms(static_cast<std::uint64_t>(asked_ms)));
}

}  // namespace

class MessageTracker::State {
 public:
  explicit State(const TrackerOptions& options)
      : options_(clamp_periods(options)),
        early_acks_(options.early_acks_max),
        finished_(options.finished_max) {}

  TrackOutcome track(PendingMessage message);
  AckOutcome acknowledge(const MessageAck& ack, Clock::time_point now);
  std::vector<Timeout> check_timeouts(Clock::time_point now);
  std::vector<MessageId> shutdown();

  std::optional<PendingMessage> find_pending(const MessageId& id) const {
    const std::lock_guard lock(mutex_);
    const auto found = pending_.find(id);
    return found == pending_.end() ? std::nullopt : std::optional(found->second);
  }
  std::size_t pending_count() const {
    const std::lock_guard lock(mutex_);
    return pending_.size();
  }
  MessageMetrics metrics() const {
    const std::lock_guard lock(mutex_);
    return metrics_;
  }
  TrackerCounters counters() const {
    const std::lock_guard lock(mutex_);
    return counters_;
  }
  bool is_shut_down() const {
    const std::lock_guard lock(mutex_);
    return shut_down_;
  }

 private:
  using Pending = std::unordered_map<MessageId, PendingMessage>;
  using Deadline = std::pair<Clock::time_point, MessageId>;

  // Everything below expects the lock to be held.
  static Deadline deadline_of(const PendingMessage& message) {
    return {std::min(message.clock_started_at + message.timeout, message.give_up_at), message.id};
  }
  void restart_clock(PendingMessage& message, Clock::time_point start);
  void keep(PendingMessage& message, std::uint32_t reported, Clock::time_point now);
  AckOutcome resolve(Pending::iterator found, const MessageAck& ack, Clock::time_point now);
  AckOutcome answer_without_message(const MessageAck& ack, Clock::time_point now);
  void end(Pending::iterator found, Ending ending, Clock::time_point now);
  Timeout time_out(Pending::iterator found, Clock::time_point now);
  void forget_old_acks(Clock::time_point now) {
    counters_.unknown_acks += early_acks_.drop_before(now - options_.early_ack_kept);
  }

  const TrackerOptions options_;
  mutable std::mutex mutex_;
  Pending pending_;
  std::set<Deadline> deadlines_;  // one for each pending message
  RecentMap<MessageId, MessageAck> early_acks_;
  RecentMap<MessageId, Ending> finished_;
  MessageMetrics metrics_;
  TrackerCounters counters_;
  bool shut_down_ = false;
};

void MessageTracker::State::restart_clock(PendingMessage& message, Clock::time_point start) {
  deadlines_.erase(deadline_of(message));
  message.clock_started_at = start;
  deadlines_.insert(deadline_of(message));
}

void MessageTracker::State::keep(PendingMessage& message, std::uint32_t reported,
                                 Clock::time_point now) {
  // Retries granted are the most that can be used up, whatever the consumer reports.
  message.retry_count = std::max(message.retry_count, std::min(reported, message.max_retries));
  const Clock::time_point deadline = deadline_of(message).first;
  deadlines_.erase({deadline, message.id});
  if (message.give_up_at == Clock::time_point::max()) {
    // Progress may not keep the message for ever, but it never takes time away either.
    message.give_up_at = std::max(message.sent_at + options_.max_age, deadline);
  }
  message.clock_started_at = now;
  deadlines_.insert(deadline_of(message));
}

TrackOutcome MessageTracker::State::track(PendingMessage message) {
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = message.sent_at;
  if (shut_down_) {
    return TrackOutcome::kShutDown;
  }
  if (message.id.is_nil()) {
    return TrackOutcome::kNilId;
  }
  if (pending_.contains(message.id) || finished_.find(message.id) != nullptr) {
    return TrackOutcome::kAlreadyTracked;
  }
  if (pending_.size() >= options_.pending_max) {
    return TrackOutcome::kFull;
  }
  forget_old_acks(now);
  metrics_.record_sent(message.kind);
  deadlines_.insert(deadline_of(message));
  const auto tracked = pending_.emplace(message.id, message).first;
  MessageAck* const early = early_acks_.find(message.id);
  if (early == nullptr) {
    return TrackOutcome::kTracked;
  }
  const MessageAck ack = std::move(*early);
  early_acks_.erase(ack.id);
  ++counters_.early_acks;
  resolve(tracked, ack, now);
  if (ack.is_retrying()) {
    return TrackOutcome::kTracked;
  }
  return ack.is_success() ? TrackOutcome::kEarlySuccess : TrackOutcome::kEarlyFailure;
}

AckOutcome MessageTracker::State::acknowledge(const MessageAck& ack, Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (shut_down_) {
    return AckOutcome::kShutDown;
  }
  const auto found = pending_.find(ack.id);
  return found == pending_.end() ? answer_without_message(ack, now) : resolve(found, ack, now);
}

AckOutcome MessageTracker::State::resolve(Pending::iterator found, const MessageAck& ack,
                                          Clock::time_point now) {
  PendingMessage& message = found->second;
  if (const auto* retrying = std::get_if<ack_status::Retrying>(&ack.status)) {
    keep(message, retrying->attempt, now);
    return AckOutcome::kStillPending;
  }
  if (ack.is_success()) {
    metrics_.record_success(message.kind, message.age(now));
  } else {
    metrics_.record_failure(message.kind);
  }
  end(found, Ending::kByAck, now);
  return AckOutcome::kResolved;
}

AckOutcome MessageTracker::State::answer_without_message(const MessageAck& ack,
                                                         Clock::time_point now) {
  if (const Ending* ending = finished_.find(ack.id); ending != nullptr) {
    const bool by_ack = *ending == Ending::kByAck;
    ++(by_ack ? counters_.duplicate_acks : counters_.acks_after_verdict);
    return by_ack ? AckOutcome::kDuplicate : AckOutcome::kAfterVerdict;
  }
  forget_old_acks(now);
  if (MessageAck* held = early_acks_.find(ack.id); held != nullptr) {
    if (held->is_final()) {
      ++counters_.duplicate_acks;
      return AckOutcome::kDuplicate;
    }
    *held = ack;
    return AckOutcome::kHeldEarly;
  }
  if (ack.id.is_nil() || options_.early_acks_max == 0) {
    ++counters_.unknown_acks;
    return AckOutcome::kUnknown;
  }
  counters_.unknown_acks += early_acks_.insert(ack.id, ack, now);
  return AckOutcome::kHeldEarly;
}

void MessageTracker::State::end(Pending::iterator found, Ending ending, Clock::time_point now) {
  deadlines_.erase(deadline_of(found->second));
  finished_.insert(found->first, ending, now);
  pending_.erase(found);
}

std::vector<Timeout> MessageTracker::State::check_timeouts(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  forget_old_acks(now);
  std::vector<Timeout> timeouts;
  // Bounded: each round ends a message or moves its deadline beyond `now`, for a timeout is at
  // least 1 ms.
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const auto found = pending_.find(deadlines_.begin()->second);
    ACKBUS_ASSERT(found != pending_.end());
    timeouts.push_back(time_out(found, now));
  }
  return timeouts;
}

Timeout MessageTracker::State::time_out(Pending::iterator found, Clock::time_point now) {
  PendingMessage& message = found->second;
  Timeout timeout{message.id, message.kind, TimeoutAction::kRetry, message.attempt,
                  milliseconds(0)};
  const bool too_old = now >= message.give_up_at;
  if (too_old || !message.can_retry()) {
    timeout.action = too_old ? TimeoutAction::kExhaustedAge : TimeoutAction::kExhaustedRetries;
    metrics_.record_failure(message.kind);
    end(found, Ending::kByVerdict, now);
    return timeout;
  }
  metrics_.record_retry(message.kind);
  ++message.retry_count;
  ++message.attempt;
  timeout.attempt = message.attempt;
  timeout.delay = calculate_retry_delay(message.retry_count);
  restart_clock(message, now + timeout.delay);
  return timeout;
}

std::vector<MessageId> MessageTracker::State::shutdown() {
  const std::lock_guard lock(mutex_);
  shut_down_ = true;
  std::vector<MessageId> closed;
  closed.reserve(pending_.size());
  for (const auto& [id, message] : pending_) {
    closed.push_back(id);
  }
  counters_.closed += closed.size();
  counters_.unknown_acks += early_acks_.clear();
  pending_.clear();
  deadlines_.clear();
  return closed;
}

class MessageTracker::Checker {
 public:
  explicit Checker(State& state) : state_(state) {}
  ~Checker() { stop(); }
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;

  bool start(milliseconds interval, CheckerCallback callback) {
    ACKBUS_ASSERT(checker_on_this_thread_ != this);
    const std::lock_guard lock(thread_mutex_);
    // Looked at under the lock: shutdown() marks the state before it stops the checker, so it meets
    // every thread.
    if (thread_.joinable() || state_.is_shut_down()) {
      return false;
    }
    thread_ = std::jthread([this, interval = std::max(interval, milliseconds(1)),
                            on_timeouts = std::move(callback)](const std::stop_token& stop_token) {
      run(stop_token, interval, on_timeouts);
    });
    return true;
  }

  void stop() {
    ACKBUS_ASSERT(checker_on_this_thread_ != this);
    const std::lock_guard lock(thread_mutex_);
    if (thread_.joinable()) {
      thread_.request_stop();  // Wakes the wait in run().
      thread_.join();
    }
  }

 private:
  void run(const std::stop_token& stop_token, milliseconds interval,
           const CheckerCallback& callback) {
    checker_on_this_thread_ = this;
    std::mutex wait_mutex;
    std::condition_variable_any woken;  // Only a stop wakes it before the interval has passed.
    while (!stop_token.stop_requested()) {
      const std::vector<Timeout> timeouts = state_.check_timeouts(Clock::now());
      if (!timeouts.empty()) {
        callback(timeouts);
      }
      std::unique_lock lock(wait_mutex);
      woken.wait_for(lock, stop_token, interval, [] { return false; });
    }
  }

  static thread_local const Checker* checker_on_this_thread_;

  State& state_;
  std::mutex thread_mutex_;
  std::jthread thread_;
};

thread_local const MessageTracker::Checker* MessageTracker::Checker::checker_on_this_thread_ =
    nullptr;

MessageTracker::MessageTracker() : MessageTracker(TrackerOptions{}) {}

MessageTracker::MessageTracker(const TrackerOptions& options)
    : state_(std::make_unique<State>(options)), checker_(std::make_unique<Checker>(*state_)) {}

MessageTracker::~MessageTracker() { shutdown(); }

TrackOutcome MessageTracker::track(const MessageId& id, Kind kind, milliseconds timeout,
                                   std::uint32_t max_retries, Clock::time_point now) {
  return state_->track(PendingMessage::start(id, kind, clamp_timeout(timeout),
                                             layout::clamp_retries(max_retries), now));
}

TrackOutcome MessageTracker::track_default(const MessageId& id, Kind kind, Clock::time_point now) {
  const layout::KindPolicy* const policy =
      layout::find_built_in_kind(static_cast<std::uint16_t>(kind));
  if (policy == nullptr) {
    return TrackOutcome::kUnknownKind;
  }
  return track(id, kind, milliseconds(policy->timeout_ms), policy->max_retries, now);
}

AckOutcome MessageTracker::acknowledge(const MessageAck& ack, Clock::time_point now) {
  return state_->acknowledge(ack, now);
}

std::vector<Timeout> MessageTracker::check_timeouts(Clock::time_point now) {
  return state_->check_timeouts(now);
}

bool MessageTracker::is_pending(const MessageId& id) const { return find_pending(id).has_value(); }

std::size_t MessageTracker::pending_count() const { return state_->pending_count(); }

std::optional<PendingMessage> MessageTracker::find_pending(const MessageId& id) const {
  return state_->find_pending(id);
}

milliseconds MessageTracker::calculate_retry_delay(std::uint32_t retry_count) {
  return milliseconds(layout::retry_delay_ms(retry_count));
}

MessageMetrics MessageTracker::metrics() const { return state_->metrics(); }

TrackerCounters MessageTracker::counters() const { return state_->counters(); }

bool MessageTracker::start_checker(milliseconds interval, CheckerCallback callback) {
  return checker_->start(interval, std::move(callback));
}

void MessageTracker::stop_checker() { checker_->stop(); }

std::vector<MessageId> MessageTracker::shutdown() {
  std::vector<MessageId> closed = state_->shutdown();
  checker_->stop();
  return closed;
}

}  // namespace ackbus
