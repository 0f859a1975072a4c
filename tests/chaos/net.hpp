// The little that a chaos run needs of the network: a free port for the daemon's metrics page, and
// what a scraper gets from it. On the loopback address only. Threads: any.
#pragma once

#include <cstdint>
#include <string>

namespace ackbus::chaos {

[[nodiscard]] std::uint16_t free_port();
// The page with its headers; empty when nobody listens.
[[nodiscard]] std::string http_get(const std::string& path, std::uint16_t port);

}  // namespace ackbus::chaos
