#include "tools/command_layout.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "gpu_proc/payload/build.hpp"
#include "tools/layout_frame.hpp"
#include "tools/layout_plan.hpp"
#include "tools/layout_report.hpp"
#include "tools/layout_session.hpp"
#include "tools/matrix_market.hpp"
#include "tools/picture.hpp"
#include "tools/progress.hpp"
#include "tools/replaced_file.hpp"
#include "tools/stress.hpp"
#include "tools/supervisor.hpp"

namespace ackbus::tools {
namespace {

namespace payload = gpu::payload;
using Failure = std::optional<LayoutFailure>;

LayoutFailure failure_of(const FileError& error) { return {exit_code_of(error.code), error.text}; }
LayoutFailure failure_of(const Error& error) { return {exit_code_of(error.code), error.text}; }

// Refused now rather than after hours of work.
Failure check_outputs(const LayoutOptions& options) {
  if (!options.picture.empty()) {
    if (const FileStatus error = check_picture_path(options.picture)) {
      return failure_of(*error);
    }
  }
  if (!options.report.empty()) {
    if (const FileStatus error = check_writable(options.report)) {
      return failure_of(*error);
    }
  }
  return std::nullopt;
}

// One layout from its first message to its last; holds what the report needs.
class Layout {
 public:
  Layout(const CommonOptions& common, const LayoutOptions& options, GraphFile file)
      : common_(common),
        options_(options),
        file_(std::move(file)),
        start_(initial_positions(file_.graph.node_count, options.seed)) {}

  Failure run() {
    LayoutSessionOptions session_options;
    session_options.queue = options_.queue;
    session_options.arena_bytes = layout_arena_bytes(file_.graph);
    session_options.window = options_.window;
    Result<LayoutSession> session = LayoutSession::connect(common_, session_options);
    if (!session) {
      return failure_of(session.error());
    }
    if (Failure failure = set_up(session.value())) {
      return failure;
    }
    if (Failure failure = compute(session.value())) {
      return failure;
    }
    return finish(session.value());
  }

  [[nodiscard]] const LayoutReport& report() const { return report_; }

  // Both files are replaced as a whole or not at all.
  Failure write_files() const {
    if (!options_.picture.empty()) {
      const PictureContent content{file_.name, options_.steps, end_, file_.names};
      const Picture picture = compose_picture(file_.graph, content);
      if (const FileStatus error = write_picture(options_.picture, picture)) {
        return failure_of(*error);
      }
    }
    if (!options_.report.empty()) {
      if (const FileStatus error = write_layout_report(options_.report, report_)) {
        return failure_of(*error);
      }
    }
    return std::nullopt;
  }

 private:
  // Each of the three is answered before the next is sent: a failure then names its cause.
  Failure set_up(LayoutSession& session) {
    const auto nothing = [] {};
    const Graph& graph = file_.graph;
    const payload::Bytes initialize =
        payload::make_initialize(-1, graph.node_count, graph.edges.size(),
                                 layout_parameters(graph, options_.far_field, options_.seed));
    Failure failure = session.send(Kind::kInitializeGpu, initialize);
    if (!failure) {
      failure = session.wait_until(0, nothing);
    }
    if (!failure) {
      failure =
          session.send(Kind::kUpdateGpuGraphData, graph_payload_bytes(graph),
                       [&](std::span<std::byte> out) { fill_graph_payload(graph, start_, out); });
    }
    if (!failure) {
      failure = session.wait_until(0, nothing);
    }
    if (!failure) {
      const payload::Bytes share =
          payload::make_shared_context(payload::kSharePositions | payload::kShareVelocities);
      failure = session.send(Kind::kSetSharedGpuContext, share);
    }
    return failure ? failure : session.wait_until(0, nothing);
  }

  [[nodiscard]] std::uint64_t message_count() const {
    return (options_.steps + options_.steps_per_message - 1) / options_.steps_per_message;
  }

  Failure compute(LayoutSession& session) {
    Progress progress({"layout", options_.steps, stderr_is_terminal(), stderr_columns()},
                      monotonic_ns());
    const auto steps_done = [&] {
      return std::min(session.done(Kind::kComputeForces) * options_.steps_per_message,
                      options_.steps);
    };
    Failure failure = compute_window(
        session, [&] { write_to_stderr(progress.update(steps_done(), monotonic_ns())); });
    write_to_stderr(progress.finish(steps_done(), monotonic_ns()));
    return failure;
  }

  Failure compute_window(LayoutSession& session, const std::function<void()>& show) {
    const std::uint64_t messages = message_count();
    std::uint64_t steps_left = options_.steps;
    for (std::uint64_t message = 0; message < messages; ++message) {
      const auto steps = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(steps_left, options_.steps_per_message));
      steps_left -= steps;
      if (Failure failure = session.send(Kind::kComputeForces, payload::make_compute(steps))) {
        return failure;
      }
      if (options_.nudge != 0 && message % options_.nudge == options_.nudge - 1) {
        const std::vector<payload::MovedNodeRecord> nodes =
            nudged_nodes(file_.graph.node_count, options_.seed + message);
        if (Failure failure =
                session.send(Kind::kUpdateNodePositions, payload::make_positions(nodes))) {
          return failure;
        }
      }
      if (Failure failure = session.wait_until(session.window() - 1, show)) {
        return failure;
      }
    }
    return session.wait_until(0, show);
  }

  Failure finish(const LayoutSession& session) {
    const Outcome& last = session.last(Kind::kComputeForces);
    const auto step = static_cast<std::uint64_t>(metadata_number(last, "step").value_or(0.0));
    Result<LayoutFrame> frame = await_frame(common_, options_.queue, file_.graph.node_count, step);
    if (!frame) {
      return failure_of(frame.error());
    }
    end_ = std::move(frame->positions);
    fill_report(session);
    return std::nullopt;
  }

  void fill_report(const LayoutSession& session) {
    report_.graph = file_.name;
    report_.nodes = file_.graph.node_count;
    report_.edges = file_.graph.edges.size();
    report_.steps = options_.steps;
    report_.seconds = session.seconds_since_first(Kind::kComputeForces);
    report_.backend = metadata_text(session.first(Kind::kInitializeGpu), "backend");
    report_.far_field = options_.far_field;
    report_.stress_start = stress_of(start_);
    report_.stress_end = stress_of(end_);
    report_.kinetic_energy_start =
        metadata_number(session.first(Kind::kComputeForces), "kinetic_energy");
    report_.kinetic_energy_end =
        metadata_number(session.last(Kind::kComputeForces), "kinetic_energy");
    session.add_to(report_);
  }

  [[nodiscard]] std::optional<double> stress_of(const std::vector<Position>& positions) const {
    StressOptions stress_options;
    stress_options.seed = options_.seed;
    const std::optional<StressEstimate> estimate =
        sampled_stress(file_.graph, positions, stress_options);
    return estimate ? std::optional<double>(estimate->stress) : std::nullopt;
  }

  const CommonOptions& common_;
  const LayoutOptions& options_;
  GraphFile file_;
  std::vector<Position> start_;
  std::vector<Position> end_;
  LayoutReport report_;
};

}  // namespace

ExitCode run_layout(const CommonOptions& common, const LayoutOptions& options) {
  if (Failure failure = check_outputs(options)) {
    return report_error(failure->code, failure->text);
  }
  FileResult<GraphFile> file = read_graph_file(options.graph);
  if (!file.ok()) {
    return report_error(file.error());
  }
  Layout layout(common, options, std::move(file.value()));
  Failure failure = layout.run();
  if (!failure) {
    failure = layout.write_files();
  }
  if (failure) {
    return report_error(failure->code, failure->text);
  }
  return print_text(layout_summary(layout.report()));
}

}  // namespace ackbus::tools
