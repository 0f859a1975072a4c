// See explorer.hpp. One explorer at a time; one thread of the system.
#include "tests/weak/explorer.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/weak/explorer_core.hpp"

namespace ackbus::weak {
namespace {

constexpr std::size_t kArenaBytes = std::size_t{64} << 20;
constexpr int kRoundsMax = 10'000;
constexpr std::uint64_t kHastyExecutions = 2'000;  // a longer round is worth its end

bool weakens(Operation operation) {
  return operation == Operation::kLoadAcquire || operation == Operation::kStoreRelease ||
         operation >= Operation::kFenceAcquire;
}

// The path within the sources: the compiler was given the whole path, or one from the build folder.
std::string short_path(const char* file) {
  std::string path = file;
  const std::string root = std::string(ACKBUS_SOURCE_DIR) + "/";
  if (path.rfind(root, 0) == 0) {
    return path.substr(root.size());
  }
  while (path.rfind("../", 0) == 0) {
    path.erase(0, 3);
  }
  return path;
}

Explorer* explorer = nullptr;

}  // namespace

void give_up(const char* why) {
  std::fprintf(stderr, "litmus tests: %s\n", why);
  std::abort();
}

// ---- executions ----

Exploration Explorer::run(const Litmus& litmus, const std::vector<OrderingSite>& weakened) {
  options_ = litmus.options;
  weakened_ = weakened;
  Exploration result;
  for (int round = 0; round < kRoundsMax && knowledge_.begin_round(); ++round) {
    if (knowledge_.shared_count() > kWordsMax) {
      give_up("more shared words than the model has room for: raise kWordsMax");
    }
    choices_.clear();
    result.executions = 0;
    result.abandoned = 0;
    result.complete = false;
    do {
      run_once(litmus);
      (dead_ ? result.abandoned : result.executions) += 1;
      if (knowledge_.shares_more() ||
          (knowledge_.grown() && result.executions < kHastyExecutions && !failed_)) {
        break;  // Begun again with what is known by now. A failure of a world in which a shared
      }         // word was taken for a private one is not to be trusted.
      if (failed_) {
        result.failed = true;
        result.what = what_;
        tracing_ = true;  // The same choices again, to tell what happened.
        run_once(litmus);
        tracing_ = false;
        result.trace = trace_;
        result.sites.assign(sites_.begin(), sites_.end());
        return result;
      }
      if (result.executions + result.abandoned >= options_.executions_max) {
        result.sites.assign(sites_.begin(), sites_.end());
        return result;
      }
      result.complete = !next_choices();
    } while (!result.complete);
  }
  result.sites.assign(sites_.begin(), sites_.end());
  return result;
}

void Explorer::run_once(const Litmus& litmus) {
  if (arena_used_ != 0) {
    std::memset(arena_, 0, arena_used_);
  }
  arena_used_ = 0;
  next_choice_ = 0;
  foretold_.clear();
  dead_ = false;
  failed_ = false;
  what_.clear();
  trace_.clear();
  try {
    const std::unique_ptr<Scenario> scenario = litmus.make();
    count_ = scenario->threads.size();
    if (count_ > kThreadsMax) {
      give_up("more threads than the model has room for: raise kThreadsMax");
    }
    machine_.reset(count_, knowledge_.shared_count());
    for (std::size_t i = 0; i < count_; ++i) {
      Running& thread = threads_[i];
      thread.strand.start(scenario->threads[i]);
      thread.wait = Wait::kNothing;
      thread.fences = 0;
      thread.barriers = 0;
      thread.last_read.assign(knowledge_.shared_count(), {SIZE_MAX, 0});
      thread.ended = false;
    }
    schedule();
    if (!dead_ && !failed_) {
      scenario->check();
    }
  } catch (const Abandoned&) {  // by a check that failed
  }
}

// The first thread that can go on does, until it waits. No choice: what a thread does between two
// choices of its own depends on nobody else.
void Explorer::schedule() {
  while (true) {
    bool all_ended = true;
    bool moved = false;
    for (std::size_t i = 0; i < count_ && !moved; ++i) {
      Running& thread = threads_[i];
      if (thread.ended) {
        continue;
      }
      all_ended = false;
      if (may_run(thread)) {
        self_ = i;
        modelled = true;
        thread.strand.resume();
        modelled = false;
        thread.ended = thread.strand.over();
        moved = true;
      }
    }
    if (failed_ || !moved) {
      dead_ = !failed_ && (!all_ended || !all_redeemed());
      failed_ = failed_ || (!dead_ && !what_.empty());
      cancel_all();
      break;
    }
  }
  for (std::size_t i = 0; i < count_; ++i) {
    knowledge_.learn_fences(i, threads_[i].fences, threads_[i].barriers);
  }
}

bool Explorer::may_run(const Running& thread) const {
  switch (thread.wait) {
    case Wait::kNothing:
      return true;
    case Wait::kStores:
      return const_cast<Machine&>(machine_).word(thread.wait_word).stores.size() >
             thread.wait_count;
    case Wait::kFences: {
      std::uint32_t done = 0;
      for (std::size_t i = 0; i < count_; ++i) {
        done += &threads_[i] != &thread ? threads_[i].fences : 0;
      }
      return done > thread.wait_count;
    }
    case Wait::kBarriers:
      return barriers_done() > thread.wait_count;
    case Wait::kEnd:
      return threads_[thread.wait_count].ended;
    case Wait::kRedeemed:
      return std::none_of(foretold_.begin(), foretold_.end(), [&](const Foretold& one) {
        return &threads_[one.thread] == &thread && !one.redeemed &&
               (thread.wait_word == kAnyWord || one.word == thread.wait_word);
      });
  }
  return false;
}

void Explorer::cancel_all() {
  for (std::size_t i = 0; i < count_; ++i) {
    threads_[i].strand.cancel();
  }
}

void Explorer::wait(Wait what, std::size_t word, std::size_t count) {
  Running& thread = threads_[self_];
  const std::size_t self = self_;
  thread.wait = what;
  thread.wait_word = word;
  thread.wait_count = count;
  thread.strand.pause();
  self_ = self;
  thread.wait = Wait::kNothing;
}

std::size_t Explorer::choose(std::size_t count) {
  if (count <= 1) {
    return 0;
  }
  if (next_choice_ == choices_.size()) {
    choices_.push_back({0, count});
  }
  const Choice& choice = choices_[next_choice_++];
  if (choice.count != count) {
    give_up("an execution did not repeat: a scenario depends on something beside its choices");
  }
  return choice.taken;
}

bool Explorer::next_choices() {
  choices_.resize(next_choice_);
  while (!choices_.empty()) {
    if (choices_.back().taken + 1 < choices_.back().count) {
      choices_.back().taken += 1;
      return true;
    }
    choices_.pop_back();
  }
  return false;
}

// ---- the rest ----

bool Explorer::in_force(const Site& site) {
  if (!weakens(site.operation)) {
    return true;
  }
  const auto [place, fresh] = in_force_.try_emplace({{site.file, site.line}, site.operation}, true);
  if (fresh) {
    const OrderingSite named{short_path(site.file), site.line, site.operation};
    sites_.insert(named);
    place->second = std::find(weakened_.begin(), weakened_.end(), named) == weakened_.end();
  }
  return place->second;
}

void Explorer::note(const char* what, const Site& site, const void* address, std::uint64_t value) {
  if (!tracing_) {
    return;
  }
  char line[256];
  std::snprintf(line, sizeof(line), "thread %zu %s %s:%d %s word %td value %" PRIu64, self_, what,
                short_path(site.file).c_str(), site.line, operation_name(site.operation),
                address == nullptr ? 0 : static_cast<const std::byte*>(address) - arena_, value);
  trace_.emplace_back(line);
}

std::byte* Explorer::allocate(std::size_t bytes) {
  if (arena_ == nullptr) {
    void* mapped = mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
      give_up("no memory for the arena");
    }
    arena_ = static_cast<std::byte*>(mapped);
  }
  std::byte* place = arena_ + arena_used_;
  arena_used_ += (bytes + 127) / 128 * 128;
  if (arena_used_ > kArenaBytes) {
    give_up("the arena is too small: raise kArenaBytes");
  }
  return place;
}

// While a load's foretold store is still to come the execution may turn out to be none: it goes on,
// and fails when it has ended.
void Explorer::breach(const std::string& what) {
  if (all_redeemed()) {
    fail(what);
  }
  if (what_.empty()) {
    what_ = what;
  }
}

bool Explorer::all_redeemed() const {
  return std::all_of(foretold_.begin(), foretold_.end(),
                     [](const Foretold& one) { return one.redeemed; });
}

void Explorer::fail(const std::string& what) {
  failed_ = true;
  what_ = what;
  throw Abandoned{};
}

void Explorer::plain(const void* bytes, std::size_t count, bool is_write) {
  const auto* begin = static_cast<const std::byte*>(bytes);
  require(machine_.plain(self_, begin, count, is_write) == nullptr, "a data race on plain bytes");
}

void Explorer::await_end(std::size_t thread) {
  if (!threads_[thread].ended) {
    wait(Wait::kEnd, 0, thread);
  }
  machine_.join_thread(self_, thread);
}

// ---- the door and the scenarios' side ----

std::uint64_t model_load(const void* word, std::uint64_t now, const Site& site) {
  return explorer->load(word, now, site);
}
void model_store(const void* word, std::uint64_t before, std::uint64_t value, const Site& site) {
  explorer->store(word, before, value, site);
}
void model_fence(const Site& site) {
  if (modelled) {
    explorer->fence(site);
  }
}

std::byte* allocate(std::size_t bytes) { return explorer->allocate(bytes); }
std::size_t choose(std::size_t count) { return explorer->choose(count); }
void require(bool condition, const std::string& what) {
  if (!condition) {
    explorer->breach(what);
  }
}
void plain_write(const void* bytes, std::size_t count) { explorer->plain(bytes, count, true); }
void plain_read(const void* bytes, std::size_t count) { explorer->plain(bytes, count, false); }
void await_end(std::size_t thread) { explorer->await_end(thread); }
void barrier(std::uint32_t registered, const Site& site) {
  if (modelled) {
    explorer->barrier(registered, site);
  }
}

Exploration explore(const Litmus& litmus, const std::vector<OrderingSite>& weakened) {
  const auto fresh = std::make_unique<Explorer>();
  explorer = fresh.get();
  Exploration result = fresh->run(litmus, weakened);
  explorer = nullptr;
  return result;
}

std::string trace_text(const Exploration& exploration) {
  std::string text = exploration.what + "\n";
  for (const std::string& line : exploration.trace) {
    text += "  " + line + "\n";
  }
  return text;
}

const char* operation_name(Operation operation) {
  switch (operation) {
    case Operation::kLoadAcquire:
      return "load_acquire";
    case Operation::kLoadRelaxed:
      return "load_relaxed";
    case Operation::kStoreRelease:
      return "store_release";
    case Operation::kStoreRelaxed:
      return "store_relaxed";
    case Operation::kFenceAcquire:
      return "fence_acquire";
    case Operation::kFenceRelease:
      return "fence_release";
    case Operation::kFenceFull:
      return "fence_full";
    case Operation::kBarrier:
      return "membarrier";
    case Operation::kFenceLight:
      return "fence_light";
    case Operation::kReserved:
      break;
  }
  return "unknown";
}

}  // namespace ackbus::weak

namespace ackbus::layout {

void assertion_failed(const char* condition, const char* file, int line) {
  ackbus::weak::require(false, std::string("assertion failed: ") + condition + " (" + file + ":" +
                                   std::to_string(line) + ")");
  std::abort();
}

}  // namespace ackbus::layout
