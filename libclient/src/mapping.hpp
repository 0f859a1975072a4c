// A memfd mapped by Boost.Interprocess: whole, shared, read-only or writable.
#pragma once

#include <ackbus/error.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ackbus {

class Mapping {
 public:
  Mapping() = default;
  // Errors: kProtocol when the descriptor is smaller than announced, kMemory when the kernel
  // refuses.
  [[nodiscard]] static Result<Mapping> map(int fd, std::uint64_t bytes, bool writable);

  [[nodiscard]] std::byte* base() const { return static_cast<std::byte*>(region_.get_address()); }
  [[nodiscard]] std::uint64_t bytes() const { return region_.get_size(); }
  [[nodiscard]] std::span<std::byte> span() const { return {base(), region_.get_size()}; }

 private:
  explicit Mapping(boost::interprocess::mapped_region region) : region_(std::move(region)) {}
  boost::interprocess::mapped_region region_;
};

}  // namespace ackbus
