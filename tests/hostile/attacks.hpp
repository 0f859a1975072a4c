// The attacks, by name: what a hostile peer does to a bus while others use it. Each runs until it
// is told to stop, connecting anew whenever the daemon has thrown it out, and counts its steps, so
// that a test waits for events and not for time. The same table serves the tests, which run an
// attack in a process of its own, and the program ackbus-hostile-peer, which `ackbus bench hostile`
// starts.
//
// Data flow: Ground (socket, queue, seed, the shared page of steps) -> attack. Threads: one in
// each, but where an attack says that it starts another.
#pragma once

#include <atomic>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>

namespace ackbus::hostile {

// Shared between the process that attacks and the one that watches.
struct Tally {
  std::atomic<std::uint64_t> steps{0};
  std::atomic<std::uint64_t> connections{0};
  std::atomic<bool> stop{false};
};

// A Tally in memory that a forked child shares.
[[nodiscard]] Tally* shared_tally();

struct Ground {
  std::string socket_path;
  std::string queue;
  Tally& tally;
  std::mt19937_64 random;

  [[nodiscard]] bool goes_on() const { return !tally.stop.load(); }
  void step() { tally.steps.fetch_add(1); }
  void connected() { tally.connections.fetch_add(1); }
};

// What it is to others: it decides what the rest of a test has to look like.
enum class Side : std::uint8_t { kReserved = 0, kProducer, kConsumer, kControl };

struct Attack {
  std::string_view name;
  std::string_view what;
  Side side;
  std::uint64_t steps;        // so many make a round worth the name
  std::string_view log_says;  // what the daemon's log says of it, beside its pid; empty: nothing,
                              // because it breaks no rule that costs anybody else anything
  void (*run)(Ground& ground);
};

[[nodiscard]] std::span<const Attack> all_attacks();
// Null when there is none of that name.
[[nodiscard]] const Attack* find_attack(std::string_view name);

// Values that break careless code: limits and their neighbours, of every width.
[[nodiscard]] std::span<const std::uint64_t> nasty_values();
[[nodiscard]] std::uint64_t nasty_value(Ground& ground);

// attacks_producer.cpp
void scribble_submission(Ground& ground);
void lie_in_fields(Ground& ground);
void change_payload_in_use(Ground& ground);
void never_reap(Ground& ground);
void storm_of_verdicts(Ground& ground);
void punch_and_remap(Ground& ground);
// attacks_consumer.cpp
void ack_what_never_came(Ground& ground);
void scribble_acks(Ground& ground);
void progress_for_ever(Ground& ground);
void publish_wrong_segments(Ground& ground);
// attacks_control.cpp
void flood_queries(Ground& ground);
void flood_segments_unread(Ground& ground);
void send_garbage_packets(Ground& ground);
void send_wrong_descriptors(Ground& ground);
void half_close(Ground& ground);
void reconnect(Ground& ground);

}  // namespace ackbus::hostile
