// The explorer itself: one execution after the other (explorer.cpp), and what each access and fence
// may do in it (explorer_access.cpp). One explorer at a time; one thread of the system.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/weak/explorer.hpp"
#include "tests/weak/knowledge.hpp"
#include "tests/weak/machine.hpp"
#include "tests/weak/strand.hpp"

namespace ackbus::weak {

class Explorer {
 public:
  Exploration run(const Litmus& litmus, const std::vector<OrderingSite>& weakened);

  // ---- the door ----
  std::uint64_t load(const void* address, std::uint64_t now, const Site& site);
  void store(const void* address, std::uint64_t before, std::uint64_t value, const Site& site);
  void fence(const Site& site);
  void barrier(std::uint32_t registered, const Site& site);

  // ---- the scenario ----
  std::byte* allocate(std::size_t bytes);
  std::size_t choose(std::size_t count);
  [[noreturn]] void fail(const std::string& what);
  void breach(const std::string& what);
  void plain(const void* bytes, std::size_t count, bool is_write);
  void await_end(std::size_t thread);

 private:
  enum class Wait : std::uint8_t { kNothing, kStores, kFences, kBarriers, kEnd, kRedeemed };
  struct Running {
    Strand strand;
    Wait wait = Wait::kNothing;
    std::size_t wait_word = 0;
    std::size_t wait_count = 0;
    std::uint32_t fences = 0;
    std::uint32_t barriers = 0;
    std::vector<std::pair<std::size_t, int>> last_read;  // per word: store, times in a row
    bool ended = false;
  };
  struct Choice {
    std::size_t taken;
    std::size_t count;
  };
  struct Foretold {
    std::size_t thread;
    std::size_t word;
    std::uint64_t value;
    std::uint32_t event;
    bool redeemed = false;
  };

  void run_once(const Litmus& litmus);
  void schedule();
  bool may_run(const Running& thread) const;
  [[nodiscard]] bool all_redeemed() const;
  void cancel_all();
  bool next_choices();
  void wait(Wait what, std::size_t word, std::size_t count);
  std::size_t read_from(std::size_t word, std::size_t number, bool acquire, bool& foretold,
                        std::uint64_t& value);
  std::vector<std::size_t> candidates(std::size_t word, std::size_t from);
  std::vector<std::uint64_t> foretellable(std::size_t number, bool acquire) const;
  void redeem(std::size_t word, std::uint64_t value);
  void await_redeemed(std::size_t word);
  void turn_of_fences();
  void turn_of_barriers();
  std::uint32_t others_fences(bool of_the_past) const;
  std::uint32_t barriers_done() const;
  bool in_force(const Site& site);
  void note(const char* what, const Site& site, const void* address, std::uint64_t value);

  static constexpr std::size_t kAnyWord = SIZE_MAX;

  Knowledge knowledge_;
  Machine machine_;
  Running threads_[kThreadsMax];
  std::size_t count_ = 0;
  std::size_t self_ = 0;
  std::vector<Choice> choices_;
  std::size_t next_choice_ = 0;
  std::vector<Foretold> foretold_;
  Options options_;
  bool dead_ = false;
  bool failed_ = false;
  bool tracing_ = false;
  std::string what_;
  std::vector<std::string> trace_;
  std::vector<OrderingSite> weakened_;
  std::set<OrderingSite> sites_;
  std::map<std::pair<std::pair<const char*, int>, Operation>, bool> in_force_;
  // One for all explorers, so that memory is not asked for anew; cleared before each execution.
  inline static std::byte* arena_ = nullptr;
  inline static std::size_t arena_used_ = 0;
};

[[noreturn]] void give_up(const char* why);

}  // namespace ackbus::weak
