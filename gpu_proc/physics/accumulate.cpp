// Implementation of the block kernel. Compiled for AVX2 and for plain x86-64; the loader's choice
// changes the speed and not one bit of the result: no contraction, no reassociation, correctly
// rounded square root and division.
#include "gpu_proc/physics/accumulate.hpp"

// The sanitizers' run-time libraries are not ready when the loader resolves clones, so there one
// version is built.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ACKBUS_ONE_VERSION
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
#define ACKBUS_ONE_VERSION
#endif
#if defined(ACKBUS_ONE_VERSION)
#define ACKBUS_CLONES
#else
#define ACKBUS_CLONES __attribute__((target_clones("avx2", "default")))
#endif

namespace ackbus::gpu {

ACKBUS_CLONES void accumulate(TargetBlock& targets, SourceBlock& sources,
                              const RepulsionLimits& limits) {
  const std::size_t width = (targets.count + kLanes - 1) / kLanes * kLanes;
  const float* x = targets.x.data();
  const float* y = targets.y.data();
  const float* z = targets.z.data();
  const float* charge = targets.charge.data();
  const float* order = targets.order.data();
  for (std::size_t first = 0; first < width; first += kLanes) {
    float sum_x[kLanes] = {};
    float sum_y[kLanes] = {};
    float sum_z[kLanes] = {};
    for (std::size_t index = 0; index < sources.count; ++index) {
      const RepulsionSource source = sources.sources[index];
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        const std::size_t target = first + lane;
        const float d_x = x[target] - source.x;
        const float d_y = y[target] - source.y;
        const float d_z = z[target] - source.z;
        const float square = d_x * d_x + d_y * d_y + d_z * d_z;
        const float factor = repulsion_factor(square, charge[target], source, limits);
        const float apart = coincident_direction(order[target], source.order);
        sum_x[lane] += factor * (square > 0.0F ? d_x : apart);
        sum_y[lane] += factor * d_y;
        sum_z[lane] += factor * d_z;
      }
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      targets.force_x[first + lane] += sum_x[lane];
      targets.force_y[first + lane] += sum_y[lane];
      targets.force_z[first + lane] += sum_z[lane];
    }
  }
  sources.count = 0;
}

}  // namespace ackbus::gpu
