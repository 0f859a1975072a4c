// From node ids to places in the node arrays. Ids that already ascend (the usual upload) need no
// sort. Built once per graph; then only read. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ackbus::gpu {

class IdIndex {
 public:
  // Replaces the index. Returns an id that occurs twice, and then the index is empty; nothing when
  // all differ.
  [[nodiscard]] std::optional<std::uint32_t> build(std::span<const std::uint32_t> ids);
  // The place of the node with that id.
  [[nodiscard]] std::optional<std::uint32_t> find(std::uint32_t id) const;

 private:
  std::vector<std::uint64_t> sorted_;  // id << 32 | place
};

}  // namespace ackbus::gpu
