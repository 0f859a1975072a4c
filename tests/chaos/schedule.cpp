#include "tests/chaos/schedule.hpp"

#include <algorithm>
#include <iterator>

#include "shm_layout/tracking.hpp"
#include "tests/chaos/message.hpp"

namespace ackbus::chaos {
namespace {

using layout::Point;

constexpr std::uint64_t kMillisecondNs = 1'000'000;
constexpr std::uint64_t kProvokeAfterNs = 250 * kMillisecondNs;
constexpr std::uint64_t kTryForNs = 1'500 * kMillisecondNs;  // then another point has its turn
constexpr std::uint64_t kRandomPauseMs = 150;
constexpr std::uint32_t kBeginWithinMs = 150;
constexpr std::uint32_t kAnswerWithinMs = 120;
constexpr std::uint32_t kCountdownMax = 4;

enum class Provoke {
  kNothing,
  kKillProducer,
  kKillConsumer,
  kStopConsumer,
  // Stopped until a message that waits for it has expired, then killed when it begins that one.
  kKillBeginner,
  kKillDaemon
};

// How to get a process to a point to which the load alone does not bring it, soon.
struct Way {
  Provoke provoke = Provoke::kNothing;
  std::optional<Point> stop_at;  // stopped there for a while first,
  std::uint32_t stop_word = 0;   // with this word only
};

Way way_to(Point point) {
  switch (point) {
    case Point::kOldLifeScanned:
    case Point::kLifeSwitched:
    case Point::kDrainedTold:
    case Point::kLifeHeard:
    case Point::kAckMapped:
    case Point::kLifeEnded:
    case Point::kLifeUnbooked:
    case Point::kActivated:
    case Point::kActivationSent:
    case Point::kEndedLifeSettled:
    case Point::kLifeKept:
    case Point::kLifeBooked:
    case Point::kHandOverWaiting:
    case Point::kHandOverPlaced:
    case Point::kRedelivered:
    case Point::kStartStored:
    case Point::kEpochMoved:
    case Point::kHandedOver:
    case Point::kLifeSealed:
    case Point::kLifeTold:
    case Point::kLifeFolded:
    case Point::kLifeForgotten:
      return {Provoke::kKillConsumer, {}};
    case Point::kSubmissionMapped:
    case Point::kHeaderFilled:
    case Point::kHeaderReady:
    case Point::kConnectionKept:
    case Point::kLinkKept:
    case Point::kLinkBooked:
    case Point::kLinkGranted:
    case Point::kLinkDraining:
    case Point::kFoldWritten:
    case Point::kLinkFolded:
    case Point::kLinkFreed:
    case Point::kLinkUnkept:
    case Point::kQueueRowOpen:
    case Point::kQueueRowPublished:
      return {Provoke::kKillProducer, {}};
    case Point::kKindRowOpen:
    case Point::kKindRowPublished:
    case Point::kBooksTaken:
    case Point::kConnectionsTaken:
    case Point::kLinksTaken:
    case Point::kRecovered:
      return {Provoke::kKillDaemon, {}};
    case Point::kUndeliveredStored:
      return {Provoke::kStopConsumer, {}};
    case Point::kUndeliveredWithdrawn:
      return {Provoke::kKillBeginner, {}};
    case Point::kWithdrawing:
    case Point::kLetterRemoved:
      return {Provoke::kNothing, Point::kLetterFilled};
    case Point::kLateNoted:
    case Point::kLateMarked:
      return {Provoke::kNothing, Point::kLetterHeard,
              static_cast<std::uint32_t>(layout::VerdictReason::kRetries)};
    default:
      return {};
  }
}

void stop_on_the_way(Stage& stage, Role role, const Way& way) {
  if (way.stop_at) {
    stage.arm(role, 1, *way.stop_at, Action::kStop, 1, way.stop_word);
  }
}

}  // namespace

const std::array<PointInfo, layout::kPointCount>& all_points() {
  static const std::array<PointInfo, layout::kPointCount> points{{
#define ACKBUS_POINT_ENTRY(name, role, where) PointInfo{#name, Role::role, where},
#include "shm_layout/test_points.def"
#undef ACKBUS_POINT_ENTRY
  }};
  return points;
}

Schedule::Schedule(Stage& stage, std::uint64_t seed, std::array<bool, kRoles> with_points)
    : stage_(stage), random_(seed), with_points_(with_points) {}

std::size_t Schedule::points_wanted() const {
  return static_cast<std::size_t>(std::count_if(
      all_points().begin(), all_points().end(),
      [&](const PointInfo& point) { return with_points_[static_cast<std::size_t>(point.role)]; }));
}

std::size_t Schedule::points_hit() const {
  return static_cast<std::size_t>(
      std::count_if(kills_.begin(), kills_.end(), [](std::uint64_t count) { return count > 0; }));
}

bool Schedule::complete() const {
  const auto some = [](std::uint64_t count) { return count > 0; };
  return points_hit() >= points_wanted() &&
         std::all_of(random_kills_.begin(), random_kills_.end(), some) &&
         std::all_of(random_stops_.begin(), random_stops_.end(), some);
}

std::string Schedule::armed_text() const {
  std::string text;
  for (const Track& track : tracks_) {
    text += track.armed ? std::string(" ") + all_points()[*track.armed].name : "";
  }
  return text;
}

void Schedule::pause() {
  stage_.disarm_all();
  for (Track& track : tracks_) {
    if (track.armed) {
      track.queue.push_back(*track.armed);
      track.armed.reset();
    }
  }
}

void Schedule::act(bool random_actions) {
  take_fired();
  for (const Role role : {Role::kProducer, Role::kConsumer, Role::kDaemon, Role::kGpu}) {
    Track& track = tracks_[static_cast<std::size_t>(role)];
    if (!with_points_[static_cast<std::size_t>(role)]) {
      continue;
    }
    if (track.armed && stage_.now_ns() - track.armed_ns > kTryForNs) {
      track.queue.insert(track.queue.begin(), *track.armed);  // Again, after all others.
      track.armed.reset();
      stage_.disarm(role);
    }
    if (!track.armed) {
      arm_next(role);
    } else if (stage_.now_ns() - track.provoked_ns > kProvokeAfterNs) {
      track.provoked_ns = stage_.now_ns();
      provoke(role);
    }
  }
  if (random_actions && stage_.now_ns() >= next_random_ns_) {
    next_random_ns_ =
        stage_.now_ns() + (kRandomPauseMs + random_() % (3 * kRandomPauseMs)) * kMillisecondNs;
    act_at_random();
  }
}

void Schedule::take_fired() {
  while (const auto fired = stage_.take_fired()) {
    const auto point = static_cast<std::size_t>(fired->point);
    Track& track = tracks_[static_cast<std::size_t>(fired->role)];
    follow(*fired);
    if (fired->action == Action::kKill) {
      kills_[point] += 1;
      if (track.armed == point) {
        track.armed.reset();
      }
    }
  }
}

// What a daemon that was stopped on its way to a rare point still waits for.
void Schedule::follow(const Stage::Fired& fired) {
  if (fired.point == Point::kLetterHeard && fired.action == Action::kStop) {
    stage_.hold_daemon(kAnswerWithinMs);
    return;
  }
  // While the consumer stood still a message expired, and the daemon stopped behind its word for
  // that: it stays there until the consumer, going on, has begun that message and was killed at it.
  const std::optional<std::size_t> armed = tracks_[static_cast<std::size_t>(Role::kDaemon)].armed;
  if (armed != static_cast<std::size_t>(Point::kUndeliveredWithdrawn)) {
    return;
  }
  if (fired.point == Point::kUndeliveredStored) {
    stage_.arm(Role::kConsumer, 1, Point::kBegunPublished, Action::kKill, 1, fired.word);
    stage_.hold_daemon(kBeginWithinMs);
  } else if (fired.point == Point::kBegunPublished) {
    stage_.hold_daemon(0);
  }
}

void Schedule::arm_next(Role role) {
  Track& track = tracks_[static_cast<std::size_t>(role)];
  if (track.queue.empty()) {
    for (std::size_t point = 0; point < layout::kPointCount; ++point) {
      const Role owner = all_points()[point].role;
      if (owner == role) {
        track.queue.push_back(point);
      }
    }
    std::shuffle(track.queue.begin(), track.queue.end(), random_);
  }
  if (role == Role::kDaemon && !stage_.daemon_ready()) {
    return;  // One death at a time, so that each is one of a daemon that served.
  }
  // One that nobody was killed at yet has its turn sooner, mostly; the last of the queue is next.
  const auto missing = std::find_if(track.queue.rbegin(), track.queue.rend(),
                                    [&](std::size_t point) { return kills_[point] == 0; });
  const auto chosen =
      missing != track.queue.rend() && random_() % 4 != 0 ? missing : track.queue.rbegin();
  const std::size_t point = *chosen;
  track.queue.erase(std::next(chosen).base());
  track.armed = point;
  track.armed_ns = stage_.now_ns();
  track.provoked_ns = track.armed_ns - kProvokeAfterNs / 2;
  const Way way = way_to(static_cast<Point>(point));
  const bool rare = way.provoke != Provoke::kNothing || way.stop_at.has_value();
  const auto countdown = rare ? 1 : static_cast<std::uint32_t>(1 + random_() % kCountdownMax);
  stage_.arm(role, 0, static_cast<Point>(point), Action::kKill, countdown);
  stop_on_the_way(stage_, role, way);
}

void Schedule::provoke(Role role) {
  const Track& track = tracks_[static_cast<std::size_t>(role)];
  const Way way = way_to(static_cast<Point>(*track.armed));
  stop_on_the_way(stage_, role, way);
  switch (way.provoke) {
    case Provoke::kKillProducer:
      stage_.kill_victim(Victim::kProducer);
      break;
    case Provoke::kKillConsumer:
      stage_.kill_victim(Victim::kConsumer);
      break;
    case Provoke::kStopConsumer:
      stage_.stop_victim(Victim::kConsumer, 65);
      break;
    case Provoke::kKillBeginner:
      stage_.arm(Role::kDaemon, 1, Point::kUndeliveredStored, Action::kStop, 1);
      stage_.stop_victim(Victim::kConsumer, 65);
      break;
    case Provoke::kKillDaemon:
      stage_.kill_victim(Victim::kDaemon);
      break;
    case Provoke::kNothing:
      break;
  }
}

void Schedule::act_at_random() {
  const auto victim = static_cast<Victim>(random_() % kVictims);
  const auto place = static_cast<std::size_t>(victim);
  const bool stops = random_kills_[place] > random_stops_[place] ||
                     (random_kills_[place] == random_stops_[place] && random_() % 2 == 0);
  if (stops) {
    const auto for_ms = static_cast<std::uint32_t>(10 + random_() % 120);
    random_stops_[place] += stage_.stop_victim(victim, for_ms) ? 1 : 0;
  } else {
    random_kills_[place] += stage_.kill_victim(victim) ? 1 : 0;
  }
}

}  // namespace ackbus::chaos
