// Graph files as `ackbus layout` reads them: Matrix Market and the names beside it, plain, gzip
// compressed, and with damaged compression. Data flow: the input's text -> a file in memory ->
// read_graph_file -> the walks that a layout makes. Checked: what is accepted is sorted, in range
// and finite. One thread.
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include <cctype>
#include <cmath>
#include <fstream>
#include <vector>

#include "gpu_proc/payload/validate.hpp"
#include "tests/fuzz/input.hpp"
#include "tools/communities.hpp"
#include "tools/layout_plan.hpp"
#include "tools/matrix_market.hpp"

namespace ackbus::tools {
namespace {

using fuzz::Input;

constexpr std::uint64_t kWalkedNodesMax = 4096;

const std::string& folder() {
  static const std::string made = [] {
    std::string name =
        ::access("/dev/shm", W_OK) == 0 ? "/dev/shm/ackbus-fuzz-XXXXXX" : "/tmp/ackbus-fuzz-XXXXXX";
    ACKBUS_ASSERT(::mkdtemp(name.data()) != nullptr);
    static const std::string kept = name;
    ::atexit([] {
      for (const char* file : {"/g.mtx", "/g.mtx.gz", "/g.names", "/g.names.gz"}) {
        ::unlink((kept + file).c_str());
      }
      ::rmdir(kept.c_str());
    });
    return kept;
  }();
  return made;
}

std::string compressed(const std::string& text) {
  z_stream stream{};
  ACKBUS_ASSERT(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  ACKBUS_ASSERT(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// A number of nodes that is allowed but takes long is no fault: such inputs are left out.
bool claims_many_nodes(const std::string& text) {
  std::uint64_t value = 0;
  for (const char letter : text + " ") {
    if (std::isdigit(static_cast<unsigned char>(letter)) != 0) {
      value = std::min<std::uint64_t>(value * 10 + static_cast<std::uint64_t>(letter - '0'),
                                      std::uint64_t{1} << 40);
      continue;
    }
    if (value > 20'000 && value <= kNodeCountMax) {
      return true;
    }
    value = 0;
  }
  return false;
}

void write(const std::string& name, const std::string& bytes) {
  std::ofstream file(folder() + name, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

void check_graph(const Graph& graph) {
  ACKBUS_ASSERT(graph.node_count >= 1 && graph.node_count <= kNodeCountMax);
  ACKBUS_ASSERT(graph.row_offsets.size() == graph.node_count + std::size_t{1});
  ACKBUS_ASSERT(graph.neighbors.size() == 2 * graph.edges.size());
  for (std::size_t index = 0; index < graph.edges.size(); ++index) {
    const Edge& edge = graph.edges[index];
    ACKBUS_ASSERT(edge.source < edge.target && edge.target < graph.node_count);
    ACKBUS_ASSERT(std::isfinite(edge.weight) && edge.weight >= 0.0F);
    if (index > 0) {
      const Edge& before = graph.edges[index - 1];
      ACKBUS_ASSERT(before.source < edge.source ||
                    (before.source == edge.source && before.target < edge.target));
    }
  }
}

// What the layout command asks of a graph that it has read; its payload passes the other end's
// checks.
void walk(const Graph& graph) {
  if (graph.node_count > kWalkedNodesMax) {
    return;
  }
  const Components components = connected_components(graph);
  ACKBUS_ASSERT(components.component_of.size() == graph.node_count);
  ACKBUS_ASSERT(components.largest() < components.sizes.size());
  for (const NodeIndex hub : top_hubs(graph, 4)) {
    ACKBUS_ASSERT(distances_from(graph, hub)[hub] == 0);
  }
  const std::vector<Position> positions = initial_positions(graph.node_count, 7);
  std::vector<std::byte> payload(graph_payload_bytes(graph));
  fill_graph_payload(graph, positions, payload);
  ACKBUS_ASSERT(gpu::payload::check_graph(payload).ok());
  for (const auto& record : layout_parameters(graph, true, 7)) {
    ACKBUS_ASSERT(gpu::payload::parameter_error(record).empty());
  }
}

}  // namespace
}  // namespace ackbus::tools

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ackbus::tools;  // NOLINT(google-build-using-namespace)
  ackbus::fuzz::Input input(data, size);
  const std::uint8_t way = input.byte();
  const std::string whole = input.rest_as_text();
  // A form feed parts the matrix from its names.
  const std::size_t parted = whole.find('\f');
  const std::string matrix = whole.substr(0, parted);
  const bool has_names = parted != std::string::npos;
  const std::string names = has_names ? whole.substr(parted + 1) : "";
  if (claims_many_nodes(whole)) {
    return -1;
  }
  const bool zipped = (way & 1) != 0;
  const bool damaged = (way & 2) != 0;
  const std::string name = zipped ? "/g.mtx.gz" : "/g.mtx";
  write(name, zipped && !damaged ? compressed(matrix) : matrix);
  for (const char* names_file : {"/g.names", "/g.names.gz"}) {
    ::unlink((folder() + names_file).c_str());
  }
  if (has_names) {
    const bool names_zipped = (way & 4) != 0;
    write(names_zipped ? "/g.names.gz" : "/g.names", names_zipped ? compressed(names) : names);
  }
  const FileResult<GraphFile> read = read_graph_file(folder() + name);
  if (read.ok()) {
    check_graph(read.value().graph);
    ACKBUS_ASSERT(read.value().names.empty() ||
                  read.value().names.size() == read.value().graph.node_count);
    walk(read.value().graph);
  } else {
    ACKBUS_ASSERT(!read.error().text.empty() && read.error().text.find('\n') == std::string::npos);
  }
  return 0;
}
