// The processes of a chaos run and the folder that they share: one daemon with its descriptor store
// kept as `ackbus run` keeps it, consumers of the work queue (one active, others standing by),
// producers, the GPU process on a queue of its own and its producer.
//
// Data flow: the schedule asks the stage to kill, stop and arm; tick() takes what has happened
// (ends, firings, stops that are over) and restarts whoever ended while there is load. Everything
// that was done to anybody is kept as an Event for the report. Threads: one.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/chaos/points_page.hpp"
#include "tests/chaos/roles.hpp"
#include "tools/supervised_child.hpp"

namespace ackbus::chaos {

enum class Victim : std::size_t { kProducer, kConsumer, kStandby, kGpu, kDaemon };
inline constexpr std::size_t kVictims = 5;
inline constexpr std::array<const char*, kVictims> kVictimNames{"producer", "consumer", "standby",
                                                                "gpu process", "daemon"};

struct StageOptions {
  std::string folder;
  std::string programs;  // where ackbusd and ackbus-gpu are
  std::string self;      // this program
  std::uint64_t seed = 0;
  std::uint32_t producers = 4;
  std::uint32_t consumers = 3;
  std::uint32_t rate = 150;  // messages a second of each producer
};

// What was done to whom, and when.
struct Event {
  enum class What { kKill, kStop, kContinue, kDaemonStart } what;
  Victim victim;
  std::uint64_t time_ns;
  std::string journal;  // of a killed client
};

// A client's process.
struct Client {
  RoleArguments arguments;
  pid_t pid = 0;
  std::uint64_t continue_ns = 0;  // stopped until then; 0: not stopped
  bool killed = false;            // by us, since it was started
};

class Stage {
 public:
  explicit Stage(StageOptions options);
  ~Stage();
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  // Starts all clients of a round; the daemon runs from the beginning.
  void start_clients();
  // Takes what has happened, waiting up to a millisecond or two for it.
  void tick();
  // Ends a round: everybody drains and leaves. False when somebody does not, with the reason noted.
  [[nodiscard]] bool quiesce();
  void restart_daemon();  // kill -9, and the next one serves

  // False when there is nobody of this kind just now.
  bool kill_victim(Victim victim);
  bool stop_victim(Victim victim, std::uint32_t for_ms);
  // With a word: only when the point is reached with it.
  void arm(Role role, std::size_t place, layout::Point point, Action action,
           std::uint32_t countdown, std::uint32_t word = 0);
  void disarm(Role role);
  void disarm_all();
  // A firing that was not taken yet.
  struct Fired {
    layout::Point point;
    Role role;
    Action action;
    std::uint32_t word;
  };
  [[nodiscard]] std::optional<Fired> take_fired();
  // The daemon, stopped at a point, goes on so much later; 0: now.
  void hold_daemon(std::uint32_t for_ms);
  void set_stop_length_ms(std::uint32_t length_ms) { point_stop_ms_ = length_ms; }

  // Asks the daemon; null when it does not answer.
  [[nodiscard]] nlohmann::json ask(const nlohmann::json& query) const;
  [[nodiscard]] std::string metrics_page() const;
  [[nodiscard]] pid_t daemon_pid() const { return daemon_->pid(); }
  [[nodiscard]] bool daemon_ready() const { return daemon_->ready(); }
  [[nodiscard]] std::size_t stored_descriptors() const { return daemon_->stored_count(); }
  [[nodiscard]] const PointsPage& page() const { return *page_; }
  [[nodiscard]] const std::vector<Event>& events() const { return events_; }
  [[nodiscard]] const std::string& folder() const { return options_.folder; }
  [[nodiscard]] std::string dead_letter_dir() const { return options_.folder + "/dead"; }
  [[nodiscard]] std::uint64_t now_ns() const;
  // Whoever ended without being asked to, one line each.
  [[nodiscard]] const std::vector<std::string>& troubles() const { return troubles_; }
  // How often the GPU process left to be started again.
  [[nodiscard]] std::uint64_t gpu_restarts() const { return gpu_restarts_; }
  void forget_round();  // events and journals of the round are done with

 private:
  void make_folder();
  void write_config() const;
  void start_daemon();
  void start_client(Client& client);
  void take_daemon_end();
  void take_client_ends();
  void take_firings();
  void continue_stopped();
  void continue_everybody();
  [[nodiscard]] Client* find_client(pid_t pid);
  [[nodiscard]] Client* choose(Victim victim);
  [[nodiscard]] std::optional<Victim> victim_of(pid_t pid) const;
  void note(Event::What what, Victim victim, std::uint64_t time_ns, const Client* client);
  [[nodiscard]] bool wait_for(const char* what, const std::function<bool()>& holds);
  [[nodiscard]] bool no_client_of(const std::string& role) const;
  [[nodiscard]] bool bus_is_empty() const;

  StageOptions options_;
  std::mt19937_64 random_;
  std::uint16_t metrics_port_ = 0;
  ControlPage* control_ = nullptr;
  PointsPage* page_ = nullptr;
  std::unique_ptr<tools::SupervisedChild> daemon_;
  bool daemon_killed_ = false;
  std::uint64_t daemon_continue_ns_ = 0;
  std::vector<Client> clients_;
  std::uint64_t firings_taken_ = 0;
  int firing_waits_ = 0;
  std::vector<Fired> fired_;
  std::set<pid_t> fired_pids_;
  std::uint32_t point_stop_ms_ = 60;
  std::uint64_t gpu_restarts_ = 0;
  std::vector<Event> events_;
  std::vector<std::string> troubles_;
};

}  // namespace ackbus::chaos
