// A new daemon and the lives of a link: which one is in force, which ended ones their producer
// still takes answers from. Threads: the bus thread.
#include <algorithm>

#include "daemon/bus.hpp"
#include "daemon/kept_descriptors.hpp"

namespace ackbus::daemon {
namespace {

// Null when its segment is gone.
Result<std::unique_ptr<Life>> open_life(NamedFds& kept, const Link& link, const LifeRecord& from) {
  const layout::AckGeometry geometry{link.slots};
  auto life = std::make_unique<Life>();
  life->ack_fd = take(kept, life_store_name(link.record, from.epoch));
  if (!large_enough(life->ack_fd, geometry.bytes())) {
    return std::unique_ptr<Life>();
  }
  life->epoch = from.epoch;
  life->slots = link.slots;
  life->start = from.start;
  life->redelivery_start = from.redelivery_start;
  Result<SegmentMap> map = SegmentMap::map(life->ack_fd.get(), geometry.bytes(), false);
  if (!map) {
    return map.error();
  }
  life->ack = std::move(map.value());
  life->mapped = from.mapped != 0;
  return life;
}

}  // namespace

Result<void> Bus::recover_old_lives(Link& link, NamedFds& kept) {
  LinkRecord& record = ledger.link(link.record);
  for (LifeRecord& old : record.old_lives) {
    if (old.epoch == record.life.epoch) {
      old.epoch =
          0;  // A daemon died while it moved this record: the life in force is not an old one.
    }
    if (old.epoch == 0) {
      continue;
    }
    const bool folded = ledger.folded() == Folded{link.number, old.epoch};
    Result<std::unique_ptr<Life>> life =
        folded ? std::unique_ptr<Life>() : open_life(kept, link, old);
    if (!life) {
      return life.error();
    }
    if (life.value() != nullptr) {
      link.old_lives.push_back(std::move(life.value()));
    } else {
      forget_kept({life_store_name(link.record, old.epoch)});
      old.epoch = 0;
    }
  }
  std::sort(link.old_lives.begin(), link.old_lives.end(),
            [](const auto& left, const auto& right) { return left->epoch < right->epoch; });
  return {};
}

// The life that the epoch word names is the one in force; a newer one in the books is a hand-over
// that was cut short and begins again.
Result<void> Bus::recover_lives(Link& link, NamedFds& kept) {
  LinkRecord& record = ledger.link(link.record);
  const layout::AckGeometry geometry{link.slots};
  if (!link.tracker) {
    return {};
  }
  keep_counter_promise(link);
  const layout::TrackingView tracking(link.tracking.base(), {link.slots});
  // relaxed because the daemon before this one wrote it, and it has ended
  const std::uint64_t in_force = tracking.words().epoch.load_relaxed();
  if (Result<void> old = recover_old_lives(link, kept); !old) {
    return old;
  }
  if (record.life.epoch != 0 && record.life.epoch == in_force) {
    Result<std::unique_ptr<Life>> life = open_life(kept, link, record.life);
    if (!life) {
      return life.error();
    }
    link.life = std::move(life.value());
  } else if (record.life.epoch > in_force) {
    [[maybe_unused]] const auto removed =
        store.remove(life_store_name(link.record, record.life.epoch));
    if (!link.old_lives.empty() && link.old_lives.back()->epoch == in_force) {
      link.life = std::move(link.old_lives.back());  // Handed over halfway: it is in force again.
      link.old_lives.pop_back();
      for (LifeRecord& old : record.old_lives) {
        if (old.epoch == in_force) {
          record.life = old;
          old.epoch = 0;
        }
      }
    } else {
      record.life = LifeRecord{};
    }
  }
  // Also when its consumer had not said that it mapped it: the carried supersede table is in it,
  // and what else it says is checked like everything of a peer's.
  if (link.own) {
    for (const auto& old : link.old_lives) {  // Acks that the daemon before this one left in them.
      link.own->set_life(layout::AckView(old->ack.base(), geometry), old->epoch, old->start);
    }
  }
  if (link.life) {
    link.tracker->set_life(layout::AckView(link.life->ack.base(), geometry), link.life->epoch,
                           link.life->start);
    if (link.own) {
      link.own->set_life(layout::AckView(link.life->ack.base(), geometry), link.life->epoch,
                         link.life->start);
    }
  }
  return {};
}

}  // namespace ackbus::daemon
