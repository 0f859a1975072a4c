#include "daemon/dead_letter_health.hpp"

#include <string>

namespace ackbus::daemon {
namespace {

constexpr std::uint64_t kWatchPauseNs = 1'000'000'000;

}  // namespace

void LetterHealth::refused(const LetterPlace& place, const Error& why, std::uint32_t sender_uid) {
  const Scope scope = why.code == ErrorCode::kQuota ? Scope(sender_uid) : std::nullopt;
  const auto known = waiting_.find(place);
  if (known == waiting_.end() || known->second != scope) {
    if (known != waiting_.end()) {
      forget(known);
    }
    waiting_[place] = scope;
    outages_[scope].waiting += 1;
    tell_recovered();
  }
  // Only what was written counts as told: a line that fell to the log's limit is said again.
  Outage& outage = outages_[scope];
  if (!outage.told.contains(why.code) &&
      log_.line(scope ? LogLevel::kWarning : LogLevel::kError, "dead_letters", why.text)) {
    outage.told.insert(why.code);
  }
}

void LetterHealth::done(const LetterPlace& place) {
  if (const auto known = waiting_.find(place); known != waiting_.end()) {
    forget(known);
    tell_recovered();
  }
}

std::uint64_t LetterHealth::watch(std::uint64_t now_ns,
                                  const std::function<bool(const LetterPlace&)>& is_gone) {
  if (outages_.empty()) {
    return UINT64_MAX;
  }
  if (now_ns >= next_watch_ns_) {
    next_watch_ns_ = now_ns + kWatchPauseNs;
    for (auto place = waiting_.begin(); place != waiting_.end();) {
      const auto present = place++;
      if (is_gone(present->first)) {
        forget(present);
      }
    }
    tell_recovered();
  }
  return next_watch_ns_;
}

bool LetterHealth::is_writable() const {
  const auto store = outages_.find(std::nullopt);
  return store == outages_.end() || store->second.waiting == 0;
}

void LetterHealth::forget(std::map<LetterPlace, Scope>::iterator place) {
  outages_.at(place->second).waiting -= 1;
  waiting_.erase(place);
}

void LetterHealth::tell_recovered() {
  for (auto outage = outages_.begin(); outage != outages_.end();) {
    const auto present = outage++;
    const auto& [scope, state] = *present;
    if (state.waiting != 0) {
      continue;
    }
    const std::string whose = scope ? " of user " + std::to_string(*scope) : "";
    if (state.told.empty() || log_.line(LogLevel::kInfo, "dead_letters",
                                        "no dead letter" + whose + " waits for room any more")) {
      outages_.erase(present);
    }
  }
}

}  // namespace ackbus::daemon
