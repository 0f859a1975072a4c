// Reader of graphs: Matrix Market coordinate files, with the names of the nodes in a file beside
// them. Data flow: FILE.mtx or FILE.mtx.gz -> checked edges -> Graph; FILE.names or FILE.names.gz
// -> one name for each node. Files are hostile input: every number is checked before it is used,
// memory grows with what was read and never with what a header claims, and every loop is bounded.
// Threads: pure functions of the files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/file_result.hpp"
#include "tools/graph.hpp"

namespace ackbus::tools {

struct GraphFile {
  std::string name;  // The file's name without folder and extension, safe to print.
  Graph graph;       // With the counts of merged duplicates and dropped self loops.
  std::vector<std::string>
      names;  // One for each node, safe to print; empty where there is no file of names.
};

// Reads the graph and, when it lies beside it, its file of names.
//
// Accepted: `%%MatrixMarket matrix coordinate FIELD SYMMETRY` with pattern, real or integer and
// general or symmetric, a square matrix with 1 to kNodeCountMax rows and at most kEdgeCountMax
// entries, comments and blank lines (at most a million). Row and column of an entry are the ends of
// an undirected edge, whichever triangle it lies in. A value is the edge's weight; its sign is
// dropped, because a spring of negative strength would push without bound.
//
// Every error is one line that names the file, the line where there is one, the thing and the
// remedy. Nothing is returned for a file that is wrong anywhere.
[[nodiscard]] FileResult<GraphFile> read_graph_file(const std::string& path);

// The edges alone, without a look for names.
[[nodiscard]] FileResult<Graph> read_matrix_market(const std::string& path);

// One name a line, in the order of the nodes; characters that are unsafe to print are replaced. A
// count of lines other than `node_count` is an error that says both.
[[nodiscard]] FileResult<std::vector<std::string>> read_node_names(const std::string& path,
                                                                   std::uint32_t node_count);

// Where the names of a matrix file lie: FILE.names.gz for FILE.mtx.gz and FILE.names for FILE.mtx,
// or the other of the two when only that one exists; empty when neither does or `matrix_path` ends
// otherwise.
[[nodiscard]] std::string find_names_file(const std::string& matrix_path);

}  // namespace ackbus::tools
