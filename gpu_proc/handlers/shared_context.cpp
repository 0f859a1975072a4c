// SetSharedGPUContext: a host-only backend has no GPU buffers to share, and says where the same
// data is.
#include "gpu_proc/handlers/handlers.hpp"
#include "gpu_proc/handlers/simulation.hpp"
#include "gpu_proc/payload/validate.hpp"

namespace ackbus::gpu {

Reply handle_shared_context(Simulation& simulation, std::span<const std::byte> payload) {
  const auto checked = payload::check_shared_context(payload);
  if (!checked.ok()) return failed(checked.error);
  Reply reply;
  reply.status = Reply::Status::kPartialSuccess;
  reply.text = std::string("host-only: backend ") + simulation.backend.name() +
               " has no GPU buffers to share; read the frames segment";
  add_metadata(reply, "device", std::string(simulation.backend.device()));
  add_metadata(reply, "layout", std::string("x y z f32 by node"));
  add_metadata(reply, "generation", simulation.state.generation);
  return reply;
}

}  // namespace ackbus::gpu
