// Going to sleep, the sleeper's side of [F2] (docs/architecture.md#sleeping-and-waking): arm every
// link, this fence, look at everything that is waited for. Both handles pass here.
#pragma once

#include "shm_layout/cell.hpp"

namespace ackbus {

inline void fence_armed() {
  layout::fence_full();  // [F2] [E16] armed before the last look; pairs with the writers' fence
                         // before they read `sleeping`
}

}  // namespace ackbus
