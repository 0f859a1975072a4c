#include "gpu_proc/physics/morton.hpp"

#include <array>

namespace ackbus::gpu {

void radix_sort(std::vector<std::uint64_t>& keys, std::vector<std::uint32_t>& order,
                std::vector<std::uint64_t>& spare_keys, std::vector<std::uint32_t>& spare_order) {
  constexpr int kDigitBits = 12;
  constexpr int kKeyBits = 48;
  constexpr std::uint64_t kMask = (1U << kDigitBits) - 1;
  spare_keys.resize(keys.size());
  spare_order.resize(keys.size());
  for (int shift = 0; shift < kKeyBits; shift += kDigitBits) {
    std::array<std::uint32_t, kMask + 2> first{};
    for (const std::uint64_t key : keys) ++first[((key >> shift) & kMask) + 1];
    for (std::size_t digit = 1; digit < first.size(); ++digit) first[digit] += first[digit - 1];
    for (std::size_t place = 0; place < keys.size(); ++place) {
      const std::uint32_t target = first[(keys[place] >> shift) & kMask]++;
      spare_keys[target] = keys[place];
      spare_order[target] = order[place];
    }
    keys.swap(spare_keys);
    order.swap(spare_order);
  }
}

}  // namespace ackbus::gpu
