// One handler per kind. Each checks its payload copy, answers on every path, and commits what it
// claims before it returns. Called by the engine from its thread.
#pragma once

#include <cstddef>
#include <span>

#include "gpu_proc/reply.hpp"

namespace ackbus::gpu {

struct Simulation;

Reply handle_initialize(Simulation& simulation, std::span<const std::byte> payload);
Reply handle_graph(Simulation& simulation, std::span<const std::byte> payload,
                   const DeliveryContext& context);
Reply handle_constraints(Simulation& simulation, std::span<const std::byte> payload);
Reply handle_compute(Simulation& simulation, std::span<const std::byte> payload,
                     const DeliveryContext& context);
Reply handle_positions(Simulation& simulation, std::span<const std::byte> payload,
                       const DeliveryContext& context);
Reply handle_shared_context(Simulation& simulation, std::span<const std::byte> payload);

}  // namespace ackbus::gpu
