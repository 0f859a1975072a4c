// Whether the store takes the letters that it is given: which ones wait because it refused them,
// and what the log says of that. A line when it begins to refuse, one for each further cause, one
// when nothing waits any more; never one for each letter or each try. One user's used-up room is
// an outage of that user alone: the store counts as writable for everybody else. Data flow: the
// bus says what became of each try (bus_letters.cpp); the status and the metrics ask
// is_writable(). Thread: the bus thread.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "daemon/log.hpp"
#include "daemon/result.hpp"

namespace ackbus::daemon {

/// The message a letter is for.
struct LetterPlace {
  std::uint64_t link = 0;  // its number
  std::uint32_t slot = 0;
  std::uint64_t sequence = 0;
  auto operator<=>(const LetterPlace&) const = default;
};

class LetterHealth {
 public:
  explicit LetterHealth(Log& log) : log_(log) {}

  /// The store refused the letter and will be asked again. kQuota: for want of room of `sender_uid`
  /// alone; any other code is the store's own trouble.
  void refused(const LetterPlace& place, const Error& why, std::uint32_t sender_uid);

  /// The letter was written, or is not wanted any more.
  void done(const LetterPlace& place);

  /// Forgets, once a second, the letters that `is_gone` says nobody will try again (their link was
  /// closed, their message answered). Gives when to call again, UINT64_MAX for never.
  std::uint64_t watch(std::uint64_t now_ns, const std::function<bool(const LetterPlace&)>& is_gone);

  /// False while a letter waits that the store refused for another reason than its sender's quota.
  [[nodiscard]] bool is_writable() const;

 private:
  using Scope = std::optional<std::uint32_t>;  // a user, or the whole store
  struct Outage {
    std::size_t waiting = 0;
    std::set<ErrorCode> told;
  };

  void forget(std::map<LetterPlace, Scope>::iterator place);
  void tell_recovered();

  Log& log_;
  std::map<LetterPlace, Scope> waiting_;  // at most one for each slot of each link
  std::map<Scope, Outage> outages_;       // until the log was told of their end
  std::uint64_t next_watch_ns_ = 0;
};

}  // namespace ackbus::daemon
