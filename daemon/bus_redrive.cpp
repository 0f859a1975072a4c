// Dead letters sent again, one at a time: read on the worker, sent on the bus thread over a link of
// the daemon's own, deleted on the worker with the next read. So one payload is in memory, and a
// crash leaves a letter too many, never one too few. One call at a time, or two would send the same
// letter. Data flow: answer_dead_redrive() -> step() -> take_step() -> send_letter() -> step() ...
// -> finish(), which answers. Threads: the bus thread; what submit() takes first runs on the
// worker.
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
  std::uint64_t deadline_ns = 0;   // until then it waits for room
  StoredLetter letter;             // being sent
  std::optional<LetterId> remove;  // sent; its letter goes with the next job
  json redriven = json::array();
  json errors = json::array();
};
using RedrivePointer = std::shared_ptr<Redrive>;

struct RedriveStep {
  Result<bool> removed = false;
  std::optional<Result<StoredLetter>> read;
};

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

// Sends what was read, or waits for room; without any until the deadline it stays a dead letter.
void send_letter(Bus& bus, const RedrivePointer& redrive) {
  const LetterId id = redrive->letter.letter.id;
  const std::uint64_t now_ns = monotonic_ns();
  const Result<LetterId> sent = bus.redrive(redrive->letter);
  if (!sent && sent.error().code == ErrorCode::kBusy && now_ns < redrive->deadline_ns) {
    bus.waiting_redrives.emplace_back([&bus, redrive] { send_letter(bus, redrive); });
    bus.next_redrive_ns = now_ns + kBusyPauseNs;
    return;
  }
  redrive->letter = {};
  if (sent) {
    redrive->redriven.push_back({{"id", to_text(id)}, {"new_id", to_text(sent.value())}});
    redrive->remove = id;
    redrive->next += 1;
  } else if (redrive->named) {
    finish(bus, redrive, &sent.error());
    return;
  } else if (sent.error().code == ErrorCode::kBusy) {
    redrive->allowed = redrive->next;  // The rest would find no room either.
  } else {
    note_error(*redrive, id, sent.error().text);
    redrive->next += 1;
  }
  step(bus, redrive);
}

// A letter that was sent but is still there would be sent twice by the next redrive.
void note_left(Bus& bus, Redrive& redrive, const LetterId& id, const std::string& why) {
  bus.log.line(LogLevel::kError, "dead_letters", "a letter that was sent again is still there",
               {{"id", to_text(id)}, {"why", why}});
  note_error(redrive, id,
             "sent again, but its letter could not be deleted: purge it (" + why + ")");
}

void take_step(Bus& bus, const RedrivePointer& redrive, RedriveStep result) {
  if (!result.read) {
    finish(bus, redrive);
  } else if (*result.read) {
    redrive->letter = std::move(*result.read).value();
    send_letter(bus, redrive);
  } else if (redrive->named) {
    finish(bus, redrive, &result.read->error());
  } else {
    note_error(*redrive, redrive->ids[redrive->next], result.read->error().text);
    redrive->next += 1;
    step(bus, redrive);
  }
}

// Deletes the letter that was sent and reads the next one, whichever is left to do.
void step(Bus& bus, const RedrivePointer& redrive) {
  const std::optional<LetterId> remove = std::exchange(redrive->remove, std::nullopt);
  std::optional<LetterId> read;
  if (redrive->next < redrive->allowed) {
    read = redrive->ids[redrive->next];
  }
  if (!remove && !read) {
    finish(bus, redrive);
    return;
  }
  const bool queued = submit<RedriveStep>(
      bus,
      [remove, read](DeadLetters& store) {
        RedriveStep result;
        if (remove) {
          result.removed = store.remove(*remove);
        }
        if (read) {
          result.read = store.read(*read);
        }
        return result;
      },
      [&bus, redrive, remove](RedriveStep result) {
        if (remove && !result.removed) {
          note_left(bus, *redrive, *remove, result.removed.error().text);
        }
        take_step(bus, redrive, std::move(result));
      });
  if (!queued) {
    if (remove) {
      note_left(bus, *redrive, *remove, "the worker is full");
    }
    const Error busy{ErrorCode::kBusy, kTooManyQueries};
    finish(bus, redrive, remove ? nullptr : &busy);
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
    if (has_store(bus, asker)) {
      begin(bus, redrive);
    }
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
