// The bus: everything the daemon knows, and its one order of duties. Thread: the bus thread; jobs
// for the disk and for memory go to the worker (allocator_worker.hpp) and come back as completions.
//
// Parts, one file each: bus.cpp (building, duties), bus_connections.cpp (who is there),
// bus_admission.cpp (who may come in), bus_descriptors.cpp (limits, and what the manager keeps),
// bus_control.cpp (what they ask), bus_links.cpp (a link's birth and end), bus_lives.cpp (consumers
// and hand-over), bus_life_told.cpp (how both ends learn of a life), bus_segments.cpp (state and
// frames), bus_letters.cpp (dead letters and redrive), bus_recovery.cpp (a new daemon),
// bus_query.cpp (the tools), bus_metrics.cpp.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "daemon/admission.hpp"
#include "daemon/allocator_worker.hpp"
#include "daemon/bus_parts.hpp"
#include "daemon/config.hpp"
#include "daemon/dead_letter_health.hpp"
#include "daemon/dead_letters.hpp"
#include "daemon/descriptor_closer.hpp"
#include "daemon/exporter.hpp"
#include "daemon/fd_store.hpp"
#include "daemon/ledger.hpp"
#include "daemon/log.hpp"
#include "daemon/own_link.hpp"
#include "daemon/second_window.hpp"
#include "daemon/service_notify.hpp"
#include "daemon/timing_wheel.hpp"
#include "daemon/tracker.hpp"
#include "shm_layout/control.hpp"

namespace ackbus::daemon {

struct BusOptions {
  Config config;
  std::string config_path;  // for SIGHUP; empty: none was given
  // Puts what the command line says over a configuration that was read again.
  std::function<void(Config&)> command_line = [](Config&) {};
  bool print_port = false;
};

class Bus {
 public:
  // Opens or takes back everything: listening socket, ledger, bus segment, links, letters,
  // endpoint.
  [[nodiscard]] static Result<std::unique_ptr<Bus>> open(BusOptions options, Log& log);
  ~Bus();

  // ---- the loop's view ----
  // Runs until a signal or a shutdown query ends it.
  void run();
  // One turn after `poll` has reported; gives when to look again.
  std::uint64_t do_work(std::uint64_t now_ns);

  // ---- connections (bus_connections.cpp) ----
  void read_connection(std::uint64_t number);
  void take_packet(Connection& connection, Packet& packet);
  void process_ended(std::uint64_t number);
  void hang_up(Connection& connection);
  void end_process_of(Connection& connection);
  void drop_connection(std::uint64_t number);
  void drop_packet(Connection& connection);
  void drop_gone();  // connections whose end was noticed in this turn
  void flush(Connection& connection);
  void watch_for_room(const Connection& connection);
  [[nodiscard]] static bool waits_for_its_reader(const Connection& connection);
  // Queues what does not fit; a client that never reads is dropped. Descriptors are duplicated by
  // the kernel. True when it is in the client's socket, where this daemon's death leaves it.
  bool send(Connection& connection, const void* message, std::size_t bytes,
            std::vector<int> descriptors = {});
  template <typename Message>
  bool send(Connection& connection, const Message& message, std::vector<int> descriptors = {}) {
    return send(connection, &message, sizeof(message), std::move(descriptors));
  }
  void refuse(Connection& connection, layout::RefusedCode code, const std::string& text,
              std::uint32_t request = 0);
  void wake(std::uint64_t connection);
  Connection* find_connection(std::uint64_t number);
  // Into the books and into the manager's store; false when there is no room.
  [[nodiscard]] bool record_connection(Connection& connection);

  // ---- admission (bus_admission.cpp) ----
  void accept_connections();
  [[nodiscard]] std::optional<Refusal> reason_against(const Connection& connection);
  void turn_away(Connection& connection, const Refusal& refusal);
  void let_go_of_turned_away();
  void pause_listening(int reason);
  std::uint64_t watch_the_door(std::uint64_t now_ns);  // gives when to call again
  [[nodiscard]] bool may_operate(const Connection& connection) const;
  [[nodiscard]] bool may_read_segments(const Connection& reader, const std::string& queue) const;
  // ---- descriptors (bus_descriptors.cpp) ----
  [[nodiscard]] std::uint64_t free_descriptors() const;
  [[nodiscard]] bool short_of_descriptors();  // logs the change, as the next one does
  [[nodiscard]] bool has_descriptors_for_link();
  void warn_of_limits();
  // Gives a copy to the service manager for the next daemon; false is logged and counted.
  bool keep(const std::string& name, int fd);
  // What it kept and no record speaks of would else be taken for the next thing of that name.
  void forget_kept(const std::vector<std::string>& names);
  // The refusal's text when the manager cannot keep so many more.
  [[nodiscard]] std::optional<std::string> store_is_full(std::uint64_t links_more,
                                                         std::uint64_t consumers_more) const;

  // ---- control messages (bus_control.cpp) ----
  void handle(Connection& connection, Packet& packet);
  void handle_of_link(Connection& connection, layout::ControlType type,
                      const layout::LinkMessage& message);
  void handle_hello(Connection& connection, Packet& packet);
  void welcome(Connection& connection, std::uint32_t request);
  Result<void> try_welcome(Connection& connection, std::uint32_t request);
  // `resumes`: a producer that has had a link to the queue already.
  [[nodiscard]] Result<std::uint32_t> admit(const Connection& connection, const std::string& queue,
                                            layout::ClientRole role, bool resumes);
  // The queue's index. In a full table a new one takes a removed one's place; else kQueuesMax.
  std::uint32_t find_or_make_queue(const std::string& name);
  [[nodiscard]] Queue* find_queue(const std::string& name);  // not a removed one
  // ---- links (bus_links.cpp) ----
  void request_link(Connection& connection, const layout::HelloMessage& hello);
  void resume_link(Connection& connection, const layout::HelloMessage& hello);
  void grant_link(Connection& connection, const layout::HelloMessage& hello, UniqueFd submission,
                  UniqueFd tracking);
  Result<void> tell_granted(const Link& link, Connection& connection, std::uint32_t request);
  LinkRecord& book_link(const Link& link, const layout::HelloMessage& hello, std::uint32_t gid);
  bool keep_link(const Link& link, Connection& connection);
  void submission_mapped(Link& link);
  void producer_lost(Link& link);
  void end_link_if_final(Link& link);
  void remove_link(std::uint64_t number);
  void close_link(Link& link, layout::VerdictReason reason, const std::string& why);
  void fold_life(const Link& link, const Life& life);
  void fold_link(Link& link);
  void keep_counter_promise(const Link& link);
  Link* find_link(std::uint64_t number);
  [[nodiscard]] TrackerRules rules_of(const Link& link) const;
  [[nodiscard]] std::optional<std::string> over_quota(const Connection& connection,
                                                      std::uint64_t slots,
                                                      std::uint64_t arena_bytes) const;

  // ---- lives (bus_lives.cpp) ----
  void consumer_arrived(Connection& connection, bool stands_by);
  void tell_standby(const Queue& queue, Connection& connection);
  void activate_next(Queue& queue);
  void activate(Queue& queue, Connection& consumer);  // the same life twice is ignored
  void activate_again(const Connection& connection);
  void consumer_ended(Queue& queue);
  [[nodiscard]] bool adopt_unsaid_life(Link& link);
  void hand_over(Link& link);
  void keep_ended_life(Link& link, LinkRecord& record);
  void finish_hand_over(Link& link, std::uint64_t epoch, UniqueFd ack_fd);
  void send_add_link(Link& link);
  void life_mapped(Link& link, std::uint64_t epoch, std::uint32_t request);
  void tell_life(Link& link, Life& life);
  void life_told(Link& link, std::uint64_t epoch);
  void send_later(Link& link, std::uint64_t epoch);
  // What could not be sent for want of descriptors; true: it still cannot.
  bool send_again(Link& link, std::uint64_t now_ns);
  void life_drained(Link& link, std::uint64_t epoch);
  void ring_all();

  // ---- segments of consumers (bus_segments.cpp) ----
  void create_segment(Connection& connection, const layout::SegmentMessage& message);
  void publish_segment(Connection& connection, const layout::SegmentMessage& message);
  void open_segment(Connection& connection, const layout::SegmentMessage& message);

  // ---- dead letters (bus_letters.cpp) ----
  void write_letter(Link& link, const LetterDraft& draft);
  void note_put_off_letters(std::uint64_t now_ns);
  void write_waiting_letters(Link& link, std::uint64_t now_ns);
  std::uint64_t watch_letters(std::uint64_t now_ns);  // gives when to call again
  void correct_letter(const LetterCorrection& correction);
  void try_correction(const LetterCorrection& correction);
  void end_correction(const LetterCorrection& correction);
  std::uint64_t retry_corrections(std::uint64_t now_ns);  // gives when to call again
  void forget_corrections(const LetterId& id);
  void submit_or_keep(AllocatorWorker::Job job, AllocatorWorker::Job done = {});
  void submit_kept_jobs();
  [[nodiscard]] Letter letter_of(const Link& link, const LetterDraft& draft) const;
  // The daemon's own link to a queue, for redrive; null while its memory is being made.
  Link* own_link(std::uint32_t queue);
  void adopt_own_link(Link& link);
  // A redriven message that ends Closed becomes a letter again: nothing is dropped without a
  // record.
  void keep_pending_letters(Link& link, layout::VerdictReason reason);
  // Sends a letter that begin_redrive() gave over the daemon's own link, as `new_id`; or why not.
  [[nodiscard]] Result<void> redrive(const StoredLetter& stored, const LetterId& new_id);
  void end_redrive(const RedriveEnd& end);
  // A new daemon: letters whose messages went with the memory of the one before it.
  void return_lost_redrives();
  // ---- recovery (bus_recovery.cpp) ----
  [[nodiscard]] Result<void> recover(NamedFds& kept);
  [[nodiscard]] Result<void> start_fresh();
  void recover_queues(NamedFds& kept);
  void recover_connections(NamedFds& kept);
  [[nodiscard]] Result<void> map_again(Link& link, bool by_its_producer);
  [[nodiscard]] Result<void> recover_link(std::uint32_t index, NamedFds& kept);
  [[nodiscard]] Result<void> recover_old_lives(Link& link, NamedFds& kept);
  [[nodiscard]] Result<void> recover_lives(Link& link, NamedFds& kept);
  void clean_letters(Link& link);
  void hang_up_unlinked();
  Result<void> resume_queue(Queue& queue);

  // ---- tools (bus_query.cpp) and metrics (bus_metrics.cpp) ----
  void answer_query(Connection& connection, const Packet& packet);
  void send_answer(Connection& connection, std::uint32_t request, std::uint32_t code,
                   const std::string& text);
  [[nodiscard]] std::shared_ptr<const MetricsSnapshot> metrics();
  // ---- life of the daemon ----
  // Validates, then swaps; an error, which is logged too, leaves the old configuration in force.
  // Gives the keys that wait for a restart.
  Result<std::vector<std::string>> reload();
  void shut_down_for_good();  // everything pending ends Closed
  void set_socket_mode();
  void write_kinds();
  void write_queue_row(const Queue& queue);

  Log& log;
  BusOptions options;
  Config& config() { return options.config; }
  [[nodiscard]] const Config& config() const { return options.config; }
  FdStore store;
  ServiceNotify notify;
  std::unique_ptr<AllocatorWorker> worker;
  DescriptorCloser closer;               // of what clients sent, and of their sockets
  std::shared_ptr<DeadLetters> letters;  // used on the worker; there from open() on
  LetterHealth letter_health{log};       // what it refused
  Ledger ledger;
  UniqueFd ledger_fd;
  UniqueFd bus_fd;
  SegmentMap bus_map;
  UniqueFd listener;
  bool own_socket = false;  // bound by a daemon, not by the service manager
  UniqueFd epoll;
  UniqueFd signals;
  std::unique_ptr<Exporter> exporter;
  std::unique_ptr<TimingWheel> wheel;
  std::map<std::uint64_t, std::unique_ptr<Connection>> connections;
  std::map<std::uint64_t, std::unique_ptr<Link>> links;
  std::vector<std::uint64_t> link_by_record;  // number, 0 none: the wheel's keys name records
  std::vector<std::unique_ptr<Queue>> queues;
  std::uint64_t started_ns = 0;
  std::uint64_t loop_turns = 0;
  std::uint64_t loop_busy_ns = 0;
  std::uint64_t loop_longest_ns = 0;
  std::uint64_t reserved_bytes = 0;  // of segments being allocated
  std::uint64_t refused = 0;         // hellos
  std::uint64_t store_failures = 0;  // descriptors that the service manager did not take
  bool store_fails = false;          // the last one of them
  Door door;
  std::vector<LetterPlace>
      put_off_letters;  // since the last turn, for want of a place on the worker
  // For the worker, once it has room: jobs and their completions.
  std::deque<std::pair<AllocatorWorker::Job, AllocatorWorker::Job>> kept_jobs;
  std::vector<LetterCorrection> corrections;  // that the disk refused
  std::set<LetterId> letters_being_written;
  std::uint64_t next_correction_ns = 0;
  std::vector<std::uint32_t> own_links_coming;   // queues whose own link is being made
  std::vector<std::uint64_t> ended_connections;  // connections to be dropped at the end of the turn
  bool stopping = false;
  bool closed_for_good = false;

  // ---- what the tools' queries take (bus_query_letters.cpp, bus_redrive.cpp) ----
  // Redrives that wait for room on a link of the daemon's own; gives when to call again.
  std::uint64_t continue_redrives(std::uint64_t now_ns);
  std::uint32_t query_jobs = 0;  // under way on the worker; bounded
  bool redriving = false;        // one redrive at a time
  SecondWindow redrive_window;
  std::vector<std::function<void()>> waiting_redrives;
  std::uint64_t next_redrive_ns = 0;

 private:
  explicit Bus(BusOptions bus_options, Log& bus_log);
  std::uint64_t work_on_link(Link& link, std::uint64_t now_ns);
  void close_for_violation(Link& link);
  [[nodiscard]] Result<void> take_lock();
  [[nodiscard]] Result<void> listen(NamedFds& kept);
  [[nodiscard]] Result<void> open_loop();
  void watch(int fd, std::uint64_t tag);
  void handle_event(std::uint64_t tag, std::uint32_t events);
  void handle_signals();
  UniqueFd lock_;  // of the runtime directory: one daemon a bus
  std::uint64_t next_watchdog_ns_ = 0;
};

// CLOCK_MONOTONIC and CLOCK_REALTIME in nanoseconds.
[[nodiscard]] std::uint64_t monotonic_ns();
[[nodiscard]] std::uint64_t realtime_ns();

// Names in the service manager's store: at most 8 characters.
[[nodiscard]] std::string store_name(char kind, std::uint32_t record);
[[nodiscard]] std::string life_store_name(std::uint32_t record, std::uint64_t epoch);
[[nodiscard]] LetterOwner owner_of(const Link& link, const layout::DescriptorCopy& descriptor);
// 122 random bits as a version 4 UUID.
[[nodiscard]] LetterId random_id();

// What an epoll event speaks of: the kind in the top byte, a number below.
enum class EventKind : std::uint8_t {
  kListener = 1,
  kSocket,
  kProcess,
  kWorker,
  kExporter,
  kSignals
};
[[nodiscard]] constexpr std::uint64_t event_tag(EventKind kind, std::uint64_t number = 0) {
  return static_cast<std::uint64_t>(kind) << 56 | number;
}

}  // namespace ackbus::daemon
