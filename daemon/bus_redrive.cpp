// Dead letters sent again, one at a time: taken out of the store on the worker, marked with their
// new id, and sent on the bus thread over a link of the daemon's own. So one payload is in memory,
// and whoever dies, the letter is either marked, and its message says how it ends, or it is a
// letter again. One call at a time, or two would send the same letter. Data flow:
// answer_dead_redrive() -> step() -> send_letter() -> step() ... -> finish(), which answers; much
// later the message ends, and Bus::end_redrive() takes the mark back or the letter away. Threads:
// the bus thread; what submit() takes first runs on the worker.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "daemon/bus_query.hpp"

namespace ackbus::daemon {

using nlohmann::json;

namespace {

constexpr std::uint64_t kRedriveMax = 100;           // a call, and a second over all calls
constexpr std::uint64_t kBusyPauseNs = 5'000'000;    // no room on the daemon's own link: again then
constexpr std::uint64_t kRedriveNs = 2'000'000'000;  // so long a call waits for room, all in all

struct Redrive {
  Asker asker;
  bool named = false;  // one letter by its id: its failure is the answer
  std::vector<LetterId> ids;
  std::size_t allowed = 0;  // of `ids`, by the limit on redrives a second
  std::size_t next = 0;
  std::uint64_t deadline_ns = 0;  // until then it waits for room
  StoredLetter letter;            // being sent
  LetterId new_id{};              // as this
  json redriven = json::array();
  json errors = json::array();
};
using RedrivePointer = std::shared_ptr<Redrive>;

void step(Bus& bus, const RedrivePointer& redrive);

void note_error(Redrive& redrive, const LetterId& id, const std::string& text) {
  redrive.errors.push_back({{"id", to_text(id)}, {"text", text}});
}

void finish(Bus& bus, const RedrivePointer& redrive, const Error* reason = nullptr) {
  bus.redriving = false;
  if (reason != nullptr && redrive->named) {
    reply_error(bus, redrive->asker, *reason);
    return;
  }
  const std::size_t skipped = redrive->ids.size() - std::min(redrive->next, redrive->ids.size());
  json answer = {{"redriven", redrive->redriven}, {"skipped", skipped}};
  if (!redrive->errors.empty()) {
    answer["errors"] = redrive->errors;
  }
  reply(bus, redrive->asker, answer);
}

// What cannot be sent stays a dead letter; for one named letter that is the answer.
void give_up(Bus& bus, const RedrivePointer& redrive, const Error& reason) {
  if (redrive->named) {
    finish(bus, redrive, &reason);
    return;
  }
  if (reason.code == ErrorCode::kBusy) {
    redrive->allowed = redrive->next;  // The rest would find no room either.
  } else {
    note_error(*redrive, redrive->ids[redrive->next], reason.text);
    redrive->next += 1;
  }
  step(bus, redrive);
}

// Sends what was taken out, or waits for room; without any until the deadline it goes back.
void send_letter(Bus& bus, const RedrivePointer& redrive) {
  const std::uint64_t now_ns = monotonic_ns();
  const Result<void> sent = bus.redrive(redrive->letter, redrive->new_id);
  if (!sent && sent.error().code == ErrorCode::kBusy && now_ns < redrive->deadline_ns) {
    bus.waiting_redrives.emplace_back([&bus, redrive] { send_letter(bus, redrive); });
    bus.next_redrive_ns = now_ns + kBusyPauseNs;
    return;
  }
  if (!sent) {
    bus.end_redrive({redrive->new_id, false});
    give_up(bus, redrive, sent.error());
    return;
  }
  redrive->redriven.push_back(
      {{"id", to_text(redrive->letter.letter.id)}, {"new_id", to_text(redrive->new_id)}});
  redrive->letter = {};
  redrive->next += 1;
  step(bus, redrive);
}

// Takes out the next letter, if one is left to do.
void step(Bus& bus, const RedrivePointer& redrive) {
  if (redrive->next >= redrive->allowed) {
    finish(bus, redrive);
    return;
  }
  redrive->new_id = random_id();
  const bool queued = submit<Result<StoredLetter>>(
      bus,
      [id = redrive->ids[redrive->next], new_id = redrive->new_id](DeadLetters& store) {
        return store.begin_redrive(id, new_id);
      },
      [&bus, redrive](Result<StoredLetter> letter) {
        if (letter) {
          redrive->letter = std::move(letter).value();
          send_letter(bus, redrive);
        } else {
          give_up(bus, redrive, letter.error());
        }
      });
  if (!queued) {
    give_up(bus, redrive, {ErrorCode::kBusy, kTooManyQueries});
  }
}

void begin(Bus& bus, const RedrivePointer& redrive) {
  const std::uint64_t now_ns = monotonic_ns();
  if (bus.redriving) {
    reply_error(bus, redrive->asker, AnswerCode::kBackPressured,
                "another redrive is under way: try again");
    return;
  }
  redrive->deadline_ns = now_ns + kRedriveNs;
  redrive->allowed = bus.redrive_window.take(redrive->ids.size(), kRedriveMax, now_ns);
  if (redrive->named && redrive->allowed == 0) {
    reply_error(bus, redrive->asker, AnswerCode::kBackPressured,
                "100 letters were sent again within this second: try again");
    return;
  }
  bus.redriving = true;
  step(bus, redrive);
}

}  // namespace

std::uint64_t Bus::continue_redrives(std::uint64_t now_ns) {
  if (!waiting_redrives.empty() && now_ns >= next_redrive_ns) {
    for (const std::function<void()>& go_on : std::exchange(waiting_redrives, {})) {
      go_on();
    }
  }
  return waiting_redrives.empty() ? UINT64_MAX : next_redrive_ns;
}

void answer_dead_redrive(Bus& bus, const Asker& asker, const json& query) {
  const Result<std::optional<std::string>> id = read_text(query, "id");
  const Result<std::uint64_t> limit = read_count(query, "limit", kRedriveMax);
  if (!id || !limit) {
    reply_error(bus, asker, !id ? id.error() : limit.error());
    return;
  }
  auto redrive = std::make_shared<Redrive>();
  redrive->asker = asker;
  if (id.value() != "all") {
    const Result<LetterId> named = read_id(query, "id");
    if (!named) {
      reply_error(bus, asker, named.error());
      return;
    }
    redrive->named = true;
    redrive->ids = {named.value()};
    begin(bus, redrive);
    return;
  }
  const std::size_t count = std::min(limit.value(), kRedriveMax);
  on_worker<std::vector<Letter>>(
      bus, asker, [count](DeadLetters& store) { return store.list({}, count); },
      [&bus, redrive](std::vector<Letter> letters) {
        std::reverse(letters.begin(), letters.end());  // Listed newest first; sent oldest first.
        for (const Letter& letter : letters) {
          redrive->ids.push_back(letter.id);
        }
        begin(bus, redrive);
      });
}

}  // namespace ackbus::daemon
