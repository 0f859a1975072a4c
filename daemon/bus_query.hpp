// What the files that answer the tools' queries share: the asker, the ways to answer, and the
// handlers of the verbs. Private to bus_query.cpp, bus_query_letters.cpp, bus_redrive.cpp and
// bus_metrics.cpp. Data flow: bus_query.cpp finds the handler, the handler replies, now or when the
// worker is done. Threads: the bus thread; what touches the disk runs on the worker.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>

#include "daemon/bus.hpp"
#include "daemon/bus_figures.hpp"
#include "daemon/query_text.hpp"

namespace ackbus::daemon {

/// Who waits for an answer. By number: the connection may be gone when the answer is ready.
struct Asker {
  std::uint64_t connection = 0;
  std::uint32_t request = 0;
};

using QueryHandler = void (*)(Bus&, const Asker&, const nlohmann::json& query);

void reply(Bus& bus, const Asker& asker, const nlohmann::json& answer);
void reply_error(Bus& bus, const Asker& asker, AnswerCode code, const std::string& text);
void reply_error(Bus& bus, const Asker& asker, const Error& error);

/// What the bus looks like now. Reads the counters of all links and the slots of those that have
/// something outstanding.
[[nodiscard]] BusFigures gather_figures(Bus& bus, std::uint64_t now_ns);
[[nodiscard]] LinkMemory memory_of(Bus& bus, const Link& link);
[[nodiscard]] bool producer_is_gone(Bus& bus, const Link& link);
/// The configured name, or "kind N".
[[nodiscard]] std::string kind_name(const Bus& bus, std::uint32_t kind);

void answer_dead_list(Bus& bus, const Asker& asker, const nlohmann::json& query);
void answer_dead_show(Bus& bus, const Asker& asker, const nlohmann::json& query);
void answer_dead_payload(Bus& bus, const Asker& asker, const nlohmann::json& query);
void answer_dead_redrive(Bus& bus, const Asker& asker, const nlohmann::json& query);
void answer_dead_purge(Bus& bus, const Asker& asker, const nlohmann::json& query);
/// `ackbus show` of a message that no slot holds any more: its dead letter, or not found.
void answer_show_from_letter(Bus& bus, const Asker& asker, const LetterId& id);

inline constexpr const char* kTooManyQueries =
    "the daemon has many such queries to answer: try again";

/// Runs `work` on the worker with the store, then `done` here with what it gave. False when the
/// worker is full.
template <typename Value>
bool submit(Bus& bus, std::function<Value(DeadLetters&)> work, std::function<void(Value)> done) {
  return bus.worker->submit_for<Value>(
      [store = bus.letters, work = std::move(work)] { return work(*store); }, std::move(done));
}

/// Counts a query that uses the worker; answers by itself when it cannot be taken.
[[nodiscard]] bool take_place(Bus& bus, const Asker& asker);

/// A query of one job: submit() with its place and its refusals.
template <typename Value>
void on_worker(Bus& bus, const Asker& asker, std::function<Value(DeadLetters&)> work,
               std::function<void(Value)> done) {
  if (!take_place(bus, asker)) {
    return;
  }
  const bool queued =
      submit<Value>(bus, std::move(work), [&bus, done = std::move(done)](Value value) {
        bus.query_jobs -= 1;
        done(std::move(value));
      });
  if (!queued) {
    bus.query_jobs -= 1;
    reply_error(bus, asker, AnswerCode::kBackPressured, kTooManyQueries);
  }
}

}  // namespace ackbus::daemon
