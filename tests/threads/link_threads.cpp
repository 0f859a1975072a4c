#include "tests/threads/link_threads.hpp"

#include <algorithm>
#include <cstring>
#include <thread>

namespace ackbus::test {
namespace {

constexpr std::uint64_t kTurnsMax = 200'000'000;  // of a loop that waits for the other threads
constexpr std::uint64_t kTurnsAwake = 64;         // turns without work between two yields

// For a turn that found nothing to do: the machine may have fewer cores than this test threads.
void idle(std::uint64_t& turns) {
  if (++turns % kTurnsAwake == 0) {
    std::this_thread::yield();
  }
}

std::byte payload_byte(std::uint64_t sequence, std::uint64_t index) {
  return static_cast<std::byte>((sequence * 131 + index * 7) & 0xff);
}

daemon::TrackerRules short_rules() {
  daemon::TrackerRules rules;
  for (daemon::KindRule& rule : rules.kinds) {
    rule.timeout_ms = 50;
    rule.max_retries = 20;
    rule.max_wait_ms = 60'000;
  }
  return rules;
}

}  // namespace

LinkThreads::LinkThreads(const ThreadsPlan& plan)
    : plan_(plan),
      submission_memory_(
          layout::SubmissionGeometry{plan.slots, plan.slots * kBytesPerSlot}.bytes()),
      tracking_memory_(layout::TrackingGeometry{plan.slots}.bytes()),
      submission_(submission_memory_.base(), {plan.slots, plan.slots * kBytesPerSlot}),
      tracking_(tracking_memory_.base(), {plan.slots}),
      rules_(short_rules()),
      outcomes_(plan.slots, plan.slots * ProducerLink::kNodesPerSlot),
      producer_(submission_, tracking_, outcomes_, 1, true),
      producer_random_(plan.seed),
      consumer_random_(plan.seed + 1) {}

ThreadsReport LinkThreads::run() {
  restart_tracker();
  for (int life = 0; life < plan_.lives && !failed_; ++life) {
    if (life % 2 == 1) {
      restart_tracker();  // Before the hand-over: a new daemon finds a dead life.
    }
    hand_over();
    round(life + 1 == plan_.lives);
  }
  report_.outcomes = outcomes_of_.size();
  report_.successes = successes_;
  report_.retries = host_.retries;
  report_.dead = host_.dead;
  for (const auto& [sequence, times] : outcomes_of_) {
    if (times != 1) {
      fail("not one outcome of " + std::to_string(sequence));
    }
  }
  return report_;
}

void LinkThreads::fail(const std::string& what) {
  if (!failed_.exchange(true)) {
    report_.failure = what;
  }
}

// ---- between rounds: one thread ----

void LinkThreads::restart_tracker() {
  host_.drafts.clear();
  tracker_ = std::make_unique<daemon::LinkTracker>(host_, submission_, tracking_, rules_);
  tracker_->recover();
  if (!lives_.empty()) {
    tracker_->set_life(lives_.back()->ack, lives_.back()->epoch, lives_.back()->start);
  }
}

// docs/architecture.md, hand-over, in its order.
void LinkThreads::hand_over() {
  tracker_->end_life();
  while (!host_.drafts.empty()) {  // No hand-over while a letter is being written.
    const daemon::LetterDraft draft = std::move(host_.drafts.back());
    host_.drafts.pop_back();
    tracker_->letter_done(draft.slot, draft.descriptor.number, daemon::LetterResult::kWritten,
                          now_ns_);
  }
  daemon::HandOver plan;
  plan.new_epoch = lives_.empty() ? 1 : lives_.back()->epoch + 1;
  plan.counts_deaths = false;  // So that nothing becomes poison.
  const std::uint64_t start = tracker_->hand_over_start(1);
  auto fresh = std::make_unique<Life>(plan_.slots, plan.new_epoch);
  fresh->start = start;
  const std::uint64_t redelivery_start = tracker_->redelivery_end();
  fresh->ack.words().cursor.store_relaxed(start);  // relaxed because nobody has mapped it yet
  fresh->ack.words().redelivery_cursor.store_relaxed(redelivery_start);
  tracker_->settle_ended_life(plan, start, fresh->ack);
  tracker_->redeliver(plan, start, now_ns_);
  tracker_->move_epoch(plan.new_epoch, start);
  tracker_->set_life(fresh->ack, plan.new_epoch, start);
  consumer_ = std::make_unique<ConsumerLink>(
      ConsumerLinkSetup{submission_, tracking_, fresh->ack, start, redelivery_start, true});
  producer_.add_life({plan.new_epoch, start, fresh->ack});
  lives_.push_back(std::move(fresh));
  running_.clear();
}

void LinkThreads::round(bool last) {
  producer_done_ = false;
  consumer_done_ = false;
  std::thread producer([this, last] { produce(last); });
  std::thread consumer([this, last] { consume(last); });
  std::thread tracker([this] { track(); });
  producer.join();
  consumer.join();
  tracker.join();
}

// ---- the producer's thread ----

bool LinkThreads::send_one() {
  const std::optional<std::uint32_t> slot = producer_.claim();
  if (!slot) {
    return false;
  }
  const std::uint64_t sequence = producer_.next_sequence();
  std::vector<std::byte> payload(1 + pick(producer_random_, kBytesPerSlot));
  for (std::uint64_t i = 0; i < payload.size(); ++i) {
    payload[i] = payload_byte(sequence, i);
  }
  CommitRequest request;
  request.kind = Kind::kComputeForces;
  request.length = payload.size();
  request.now_ns = now_ns_;
  if (payload.size() <= layout::kInlineBytesMax) {
    request.inlined = payload;
  } else {
    request.offset = *slot * kBytesPerSlot;
    request.holds_arena = true;
    std::memcpy(submission_.arena() + request.offset, payload.data(), payload.size());
  }
  producer_.commit(*slot, request);
  static_cast<void>(producer_.must_ring());
  if (pick(producer_random_, 50) == 0) {
    producer_.cancel(*slot, sequence);
  }
  return true;
}

void LinkThreads::take_outcomes() {
  producer_.reap(now_ns_);
  producer_.clear_switched();
  producer_.drain_freed([](std::uint32_t) {});
  while (auto node = outcomes_.take_oldest()) {
    outcomes_of_[node->sequence] += 1;
    successes_ += node->outcome.is_success() ? 1 : 0;
  }
}

void LinkThreads::produce(bool last) {
  const std::uint64_t share = plan_.messages / static_cast<std::uint64_t>(plan_.lives);
  std::uint64_t sent = 0;
  std::uint64_t idle_turns = 0;
  for (std::uint64_t turn = 0; sent < share || (last && producer_.in_use() > 0); ++turn) {
    if (sent < share && pick(producer_random_, 3) != 0 && send_one()) {
      sent += 1;
    } else {
      take_outcomes();
      idle(idle_turns);
    }
    if ((!last && consumer_done_) || failed_) {
      break;  // The next round goes on.
    }
    if (turn > kTurnsMax || producer_.closed() != OutcomeReason::kNone) {
      fail("the producer waits for ever, or its link was closed");
    }
  }
  if (last && !failed_ && producer_.pending_count() != 0) {
    fail("messages without an outcome");
  }
  producer_done_ = true;
}

// ---- the consumer's thread ----

void LinkThreads::answer(const Delivery& begun) {
  for (std::uint64_t i = 0; i < begun.payload.size(); ++i) {
    if (begun.payload[i] != payload_byte(begun.sequence, i)) {
      return fail("a payload of another message: " + std::to_string(begun.sequence));
    }
  }
  report_.payload_bytes += begun.payload.size();
  const std::uint64_t choice = pick(consumer_random_, 20);
  if (choice == 0) {
    consumer_->give_back(begun.slot, begun.sequence, 1, now_ns_);
    return;
  }
  if (choice == 1) {
    consumer_->progress(begun.slot, begun.sequence, 1, now_ns_);
  }
  const layout::AckCode code = choice == 2 ? layout::AckCode::kFailed : layout::AckCode::kSuccess;
  if (!consumer_->ack(begun.slot, begun.sequence, code, choice == 3 ? "a text" : "", {}, now_ns_)) {
    fail("the answer to a running message was called stale");
  }
  static_cast<void>(consumer_->must_ring());
}

void LinkThreads::consume(bool last) {
  const std::uint64_t share = plan_.messages / static_cast<std::uint64_t>(plan_.lives);
  const std::uint64_t lifetime = share / 2 + pick(consumer_random_, share);
  std::uint64_t begun_here = 0;
  std::uint64_t idle_turns = 0;
  while (!producer_done_ && !failed_ && (last || begun_here < lifetime)) {
    Delivery begun;
    const NextResult result = running_.size() < 4
                                  ? consumer_->next(now_ns_, running_.empty(), 0, begun)
                                  : NextResult::kNothing;
    if (result == NextResult::kBegun) {
      begun_here += 1;
      running_.push_back(begun);
    } else if (!running_.empty()) {
      const std::size_t index = pick(consumer_random_, running_.size());
      answer(running_[index]);
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
    } else {
      idle(idle_turns);
    }
    if (consumer_->violated()) {
      fail("the consumer saw a violation");
    }
  }
  report_.begun += begun_here;
  consumer_done_ = true;
}

// ---- the tracker's thread ----

void LinkThreads::track() {
  std::uint64_t turns = 0;
  while (!producer_done_ || !consumer_done_) {
    const std::uint64_t now_ns = now_ns_ + kMs / 4;
    now_ns_ = now_ns;
    tracker_->scan_soon();
    tracker_->scan(now_ns);
    while (!host_.drafts.empty()) {
      const daemon::LetterDraft draft = std::move(host_.drafts.back());
      host_.drafts.pop_back();
      tracker_->letter_done(draft.slot, draft.descriptor.number, daemon::LetterResult::kWritten,
                            now_ns);
    }
    idle(turns);
  }
}

}  // namespace ackbus::test
