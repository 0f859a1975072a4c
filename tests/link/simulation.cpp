#include "tests/link/simulation.hpp"

#include <algorithm>
#include <sstream>

namespace ackbus::test {

using layout::AckCode;

namespace {

daemon::TrackerRules rules_for(const SimulationOptions& options) {
  daemon::TrackerRules rules = test_rules();
  for (daemon::KindRule& rule : rules.kinds) {
    rule.timeout_ms = 20;
    rule.max_retries = 2;
    rule.max_wait_ms = 400;
    rule.max_age_ms = 500;
    rule.clock_from_commit = options.clock_from_commit;
  }
  return rules;
}

}  // namespace

Simulation::Simulation(const SimulationOptions& options)
    : options_(options), random_(options.seed), world_(options.slots, rules_for(options)) {
  ACKBUS_ASSERT(current_ == nullptr);
  current_ = this;
  producer_ = std::make_unique<Fiber>([this] { producer_step(); });
  start_daemon_fiber();
  layout::access_hook = &Simulation::on_access;
}

Simulation::~Simulation() {
  layout::access_hook = nullptr;
  producer_.reset();
  consumer_.reset();
  daemon_.reset();
  current_ = nullptr;
}

bool Simulation::on_access(const void*, bool) {
  if (Fiber::running() != nullptr && current_->options_.switch_permille != 0 &&
      current_->chance(current_->options_.switch_permille)) {
    Fiber::yield();
  }
  return true;
}

std::string Simulation::run() {
  for (int step = 0; step < options_.steps && failure_.empty(); ++step) {
    operations_ += 1;
    maybe_kill();
    const std::uint64_t choice = pick(consumer_ ? 3 : 2);
    Fiber& chosen = choice == 0 ? *producer_ : choice == 1 ? *daemon_ : *consumer_;
    chosen.resume();
  }
  settle_down();
  if (failure_.empty()) {
    check_end();
  }
  return failure_;
}

void Simulation::fail(const std::string& what) {
  if (failure_.empty()) {
    failure_ = what;
  }
}

void Simulation::note(const std::string& what) {
  std::ostringstream line;
  line << operations_ << " @" << world_.now_ns / kMs << "ms " << what;
  log_.push_back(line.str());
}

// ---- producer ----

void Simulation::producer_step() {
  const std::uint64_t choice = pick(10);
  if (choice < 4 && sending_) {
    send();
  } else if (choice == 4 && options_.cancels && sending_ && !fates_.empty()) {
    const auto fate = std::next(fates_.begin(), static_cast<std::ptrdiff_t>(pick(fates_.size())));
    note("cancel " + std::to_string(fate->first));
    world_.producer->cancel(fate->second.ticket.slot, fate->first);
  } else if (!options_.lazy_producer || quiet_ || chance(200)) {
    world_.reap();
    take_outcomes();
    if (world_.producer->closed() != OutcomeReason::kNone) {
      fail("the producer saw a violation");
    }
  }
}

void Simulation::send() {
  Message message;
  message.tracked = !options_.untracked || !chance(150);
  message.bytes = chance(300) ? 200 : pick(65);
  if (options_.keys && chance(400)) {
    message.kind = kSuperseding;
    message.options.key = 1 + pick(2);
  }
  if (chance(100)) {
    message.options.max_retries = static_cast<std::uint32_t>(pick(2));
  }
  if (chance(options_.short_wait_permille)) {
    message.options.max_wait = std::chrono::milliseconds(1 + pick(30));
  }
  if (options_.after && chance(150) && !fates_.empty()) {
    const Fate& earlier = fates_.rbegin()->second;
    message.options.after_sequence = earlier.ticket.sequence;
    message.after_slot = earlier.ticket.slot;
  }
  Fate fate;
  fate.kind = message.kind;
  fate.tracked = message.tracked;
  fate.bytes = message.bytes;
  fate.key = message.options.key;
  fate.after = message.options.after_sequence;
  const std::uint64_t sequence = world_.producer->next_sequence();
  fates_[sequence] = fate;  // Before it is committed: others run while it is published.
  const std::optional<Ticket> ticket = world_.try_commit(message);
  if (!ticket) {
    fates_.erase(sequence);
    return;
  }
  fates_[sequence].ticket = *ticket;
  note("sent " + std::to_string(sequence) + " in slot " + std::to_string(ticket->slot) +
       (message.tracked ? "" : " untracked") +
       (message.options.key != 0 ? " key " + std::to_string(message.options.key) : "") +
       (fate.after != 0 ? " after " + std::to_string(fate.after) : ""));
}

void Simulation::take_outcomes() {
  while (auto node = world_.outcomes.take_oldest()) {
    Fate& fate = fates_[node->sequence];
    const OutcomeCode code = node->outcome.code;
    note("outcome of " + std::to_string(node->sequence) + ": " +
         std::to_string(static_cast<int>(code)) + "/" +
         std::to_string(static_cast<int>(node->outcome.reason)));
    if (fate.outcome.code != OutcomeCode::kReserved || !fate.tracked) {
      fail("a second outcome of " + std::to_string(node->sequence));
    }
    const bool never_ran =
        code == OutcomeCode::kCancelled || node->outcome.reason == OutcomeReason::kUndelivered;
    if (never_ran && fate.ran) {
      fail("cancelled or undelivered, but it ran: " + std::to_string(node->sequence));
    }
    fate.outcome = node->outcome;
    seen_[code] += 1;
  }
}

// ---- consumer ----

void Simulation::consumer_step() {
  const bool full = running_.size() >= (quiet_ ? 64 : 3);
  if (running_.empty() || (!full && chance(500))) {
    begin_one();
  } else {
    answer_one();
  }
  if (world_.consumer->violated()) {
    fail("the consumer saw a violation");
  }
}

void Simulation::begin_one() {
  if (!running_.empty() && running_.front().alone) {
    return;
  }
  Delivery begun;
  const std::uint64_t supersedes = options_.keys ? world_.supersedes() : 0;
  if (world_.consumer->next(world_.now_ns, running_.empty(), supersedes, begun) !=
      NextResult::kBegun) {
    return;
  }
  note("begun " + std::to_string(begun.sequence) + " attempt " + std::to_string(begun.attempt) +
       " in life " + std::to_string(world_.lives.back()->epoch));
  check_begin(begun);
  running_.push_back(begun);
}

void Simulation::check_begin(const Delivery& begun) {
  const std::string name = std::to_string(begun.sequence);
  const auto found = fates_.find(begun.sequence);
  if (found == fates_.end()) {
    return fail("ran what was never sent: " + name);
  }
  Fate& fate = found->second;
  const std::uint64_t life = world_.lives.back()->epoch;
  if (fate.ran_in_life == life && !fate.given_back) {
    fail("ran twice in one life: " + name);
  }
  if (fate.outcome.code == OutcomeCode::kCancelled ||
      fate.outcome.reason == OutcomeReason::kUndelivered) {
    fail("ran after an outcome that says it never did: " + name);
  }
  if (!fate.tracked && fate.ran && !fate.given_back) {
    fail("an untracked message ran twice: " + name);
  }
  for (const Delivery& other : running_) {
    const bool same_key =
        options_.keys && begun.kind == other.kind && begun.key != 0 && begun.key == other.key;
    if (same_key) {
      fail("two of one key at once: " + name);
    }
    if (other.alone || begun.alone) {
      fail("not alone: " + name);
    }
    if (fate.after == other.sequence && begun.attempt == 1) {
      fail("ran while the one before it still runs: " + name);
    }
  }
  if (fate.after != 0 && begun.attempt == 1 && !begun.may_have_run) {
    const Fate& earlier = fates_[fate.after];
    // An untracked one ends without an outcome: with a life that died, or its slot is in use again.
    const bool gone = !earlier.tracked &&
                      (earlier.ran || world_.producer->slot_of(fate.after) == OutcomeStore::kNone);
    const layout::PendingState state = world_.state(earlier.ticket);
    const bool decided =
        state == layout::PendingState::kVerdict || state == layout::PendingState::kFinal;
    if (!answered_anywhere(earlier) && earlier.outcome.code == OutcomeCode::kReserved && !gone &&
        !decided) {
      fail("ran before the one it waits for was final: " + name);
    }
  }
  fate.ran = true;
  fate.ran_in_life = life;
  fate.given_back = false;
}

// By the record of any life: skipped ones are answered too.
bool Simulation::answered_anywhere(const Fate& fate) const {
  return fate.answered ||
         std::any_of(world_.lives.begin(), world_.lives.end(), [&](const auto& life) {
           layout::AnswerCopy answer;
           return layout::answer_read(life->ack.record(fate.ticket.slot), fate.ticket.sequence,
                                      answer);
         });
}

void Simulation::answer_one() {
  const std::size_t index = pick(running_.size());
  const Delivery begun = running_[index];
  for (std::uint64_t i = 0; i < begun.payload.size(); ++i) {
    if (begun.payload[i] != payload_byte(begun.sequence, i)) {
      return fail("the payload changed under its handler: " + std::to_string(begun.sequence));
    }
  }
  const std::uint64_t choice = pick(10);
  if (!quiet_ && choice < 3) {
    return;  // It takes its time.
  }
  if (!quiet_ && choice == 3) {
    note("progress of " + std::to_string(begun.sequence));
    world_.progress(begun, static_cast<std::uint32_t>(pick(2)));
  } else if (!quiet_ && choice == 4 && options_.nacks) {
    note("gives back " + std::to_string(begun.sequence));
    fates_[begun.sequence].given_back = true;
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
    world_.give_back(begun, static_cast<std::uint32_t>(pick(2) * 5));
  } else {
    finish(index);
  }
}

void Simulation::finish(std::size_t index) {
  const Delivery begun = running_[index];
  running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(index));
  Fate& fate = fates_[begun.sequence];
  const std::uint64_t choice = pick(10);
  const AckCode code = choice == 0   ? AckCode::kFailed
                       : choice == 1 ? AckCode::kPartialSuccess
                                     : AckCode::kSuccess;
  fate.answered = true;
  if (code != AckCode::kFailed) {
    for (const auto& [sequence, other] : fates_) {
      if (options_.keys && fate.key != 0 && other.key == fate.key && other.kind == fate.kind &&
          sequence > begun.sequence && other.succeeded) {
        fail("applied after a newer one of its key: " + std::to_string(begun.sequence));
      }
    }
  }
  note("acks " + std::to_string(begun.sequence) + " with " +
       std::to_string(static_cast<int>(code)));
  if (!world_.ack(begun, code, chance(200) ? "a text" : "")) {
    fail("the answer to a running message was called stale");
  }
  fate.succeeded = code != AckCode::kFailed;  // Only what the life could announce is known to all.
}

// ---- daemon ----

void Simulation::daemon_step() {
  if (death_unseen_) {
    death_unseen_ = false;
    world_.tracker->end_life();
  }
  world_.host.store_broken = options_.broken_store && !quiet_ && chance(300);
  const bool needs_life = world_.lives.empty() || world_.lives.back()->ended;
  const std::uint64_t choice = pick(10);
  if (choice < 3 && world_.run_letter_job()) {
    return;
  }
  if (needs_life && !consumer_ && choice < 5 && world_.tracker->letters_idle()) {
    note("hands over");
    world_.prepare_hand_over();
    LinkWorld::Life& life = *world_.lives.back();
    world_.tracker->set_life(life.ack, life.epoch, life.start);
    note("life " + std::to_string(life.epoch) + " starts at " + std::to_string(life.start));
    world_.start_consumer();
    start_consumer_fiber();
    return;
  }
  if (choice < 7) {
    if (const auto slot = world_.host.take_due(world_.now_ns)) {
      world_.tracker->expire(*slot, world_.now_ns);
    } else if (world_.now_ns >= world_.tracker->next_scan_ns()) {
      world_.tracker->scan(world_.now_ns);
    }
  } else {
    advance_time();
  }
}

// Time moves when the daemon has nothing overdue, so that deadlines fire at their time.
void Simulation::advance_time() {
  const std::uint64_t scan_ns = world_.tracker->next_scan_ns();
  const std::uint64_t due_ns = world_.host.next_deadline_ns().value_or(scan_ns);
  const std::uint64_t next_ns = std::min(scan_ns, due_ns);
  if (next_ns > world_.now_ns) {
    world_.now_ns = std::min(next_ns, world_.now_ns + (1 + pick(8)) * kMs);
  }
}

// ---- deaths ----

void Simulation::start_consumer_fiber() {
  consumer_ = std::make_unique<Fiber>([this] { consumer_step(); });
}

void Simulation::start_daemon_fiber() {
  daemon_ = std::make_unique<Fiber>([this] { daemon_step(); });
}

void Simulation::maybe_kill() {
  if (consumer_ && options_.consumer_kills > 0 && chance(15)) {
    options_.consumer_kills -= 1;
    kill_consumer();
  }
  if (options_.daemon_kills > 0 && chance(15)) {
    options_.daemon_kills -= 1;
    kill_daemon();
  }
}

void Simulation::kill_consumer() {
  note("consumer dies");
  deaths_ += 1;
  consumer_.reset();
  running_.clear();
  world_.consumer.reset();
  LinkWorld::Life& life = *world_.lives.back();
  life.ended = true;
  death_unseen_ = true;
}

// The new daemon takes over before anybody else moves: its start is not interleaved, its death was.
void Simulation::kill_daemon() {
  note("daemon dies");
  daemon_.reset();
  death_unseen_ = false;
  world_.restart_tracker();
  LinkWorld::Life* life = world_.lives.empty() ? nullptr : world_.lives.back().get();
  if (life != nullptr && !life->ended && !consumer_) {
    note("life " + std::to_string(life->epoch) + " activated by the new daemon");
    world_.start_consumer();
    start_consumer_fiber();
  }
  start_daemon_fiber();
}

// ---- the end ----

// Nothing more is sent and nobody dies: everything must become final, and every slot free.
void Simulation::settle_down() {
  sending_ = false;
  quiet_ = true;
  for (int turn = 0; turn < 60'000 && failure_.empty(); ++turn) {
    operations_ += 1;
    const std::uint64_t choice = pick(consumer_ ? 3 : 2);
    (choice == 0 ? *producer_ : choice == 1 ? *daemon_ : *consumer_).resume();
    const bool all_idle = producer_->idle() && daemon_->idle() && (!consumer_ || consumer_->idle());
    if (all_idle && world_.producer->pending_count() == 0 && world_.producer->in_use() == 0) {
      return;
    }
  }
  if (failure_.empty()) {
    std::ostringstream text;
    text << "never settled: pending " << world_.producer->pending_count() << ", slots in use "
         << world_.producer->in_use() << ":";
    for (const auto& [sequence, fate] : fates_) {
      if (world_.producer->slot_of(sequence) != OutcomeStore::kNone) {
        const auto entry = world_.entry(fate.ticket);
        text << " " << sequence << " (slot " << fate.ticket.slot << ", entry of " << entry.sequence
             << " state " << static_cast<int>(entry.state) << " reason "
             << static_cast<int>(entry.reason) << " attempt " << entry.attempt << " epoch "
             << entry.epoch << ", outcome " << static_cast<int>(fate.outcome.code) << ")";
      }
    }
    fail(text.str());
  }
}

void Simulation::check_end() {
  layout::access_hook = nullptr;
  take_outcomes();
  for (const auto& [sequence, fate] : fates_) {
    if (fate.tracked && fate.outcome.code == OutcomeCode::kReserved) {
      fail("no outcome of " + std::to_string(sequence));
    }
    const auto entry = world_.entry(fate.ticket);
    if (entry.sequence == sequence && entry.deaths > deaths_) {
      fail("more deaths counted than happened: " + std::to_string(sequence));
    }
  }
  check_counters();
  check_letters();
}

void Simulation::check_counters() {
  std::uint64_t sent = 0;
  std::uint64_t ended = 0;
  std::uint64_t partial = 0;
  std::uint64_t posted = 0;
  for (std::uint32_t kind = 0; kind < layout::kKindsMax; ++kind) {
    const layout::ProducerCounters& counters = world_.submission.counters(kind);
    sent += counters.sent.load_relaxed();
    posted += counters.posted.load_relaxed();
    partial += counters.partial_success.load_relaxed();
    ended += counters.success.load_relaxed() + counters.failed.load_relaxed() +
             counters.exhausted.load_relaxed() + counters.superseded.load_relaxed() +
             counters.cancelled.load_relaxed() + counters.closed.load_relaxed();
  }
  const auto tracked = static_cast<std::uint64_t>(std::count_if(
      fates_.begin(), fates_.end(), [](const auto& entry) { return entry.second.tracked; }));
  if (sent != tracked || posted != fates_.size() - tracked || sent != ended + partial) {
    fail("counters do not add up: sent " + std::to_string(sent) + " of " + std::to_string(tracked) +
         ", ended " + std::to_string(ended) + " + " + std::to_string(partial));
  }
}

void Simulation::check_letters() {
  for (const auto& [sequence, fate] : fates_) {
    const FakeLetter* letter = world_.letter(fate.ticket);
    const OutcomeCode code = fate.outcome.code;
    if (code == OutcomeCode::kExhausted && (letter == nullptr || letter->late_success)) {
      fail("Exhausted without a letter: " + std::to_string(sequence));
    }
    if (fate.outcome.is_success() && letter != nullptr && !letter->late_success) {
      fail("Success with a letter that does not say so: " + std::to_string(sequence));
    }
    if (code != OutcomeCode::kExhausted && !fate.outcome.is_success() && letter != nullptr) {
      fail("a letter of what ended by its ack: " + std::to_string(sequence));
    }
  }
}

}  // namespace ackbus::test
