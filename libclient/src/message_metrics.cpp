// Counts by kind and the table that shows them. No threads; the summary is made only when somebody
// asks for it.
#include <ackbus/message_metrics.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "shm_layout/assert.hpp"
#include "shm_layout/kinds.hpp"

namespace ackbus {
namespace {

double rate(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) {
    return 0.0;
  }
  // Counters read one after the other from live memory may show an ack before its send.
  return std::min(static_cast<double>(part) / static_cast<double>(whole), 1.0);
}

// std::to_chars and not printf: the application's locale must not change the text.
std::string fixed(double value, int decimals) {
  std::array<char, 64> buffer;
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                                          std::chars_format::fixed, decimals);
  ACKBUS_ASSERT(
      error ==
      std::errc{});  // Every figure here comes from 64-bit counts, so it has under 30 digits.
  return {buffer.data(), end};
}

std::string percent(double rate_value) { return fixed(rate_value * 100.0, 1) + " %"; }

using Row = std::vector<std::string>;

Row kind_row(const std::string& name, const KindTotals& totals) {
  return {name,
          std::to_string(totals.sent),
          std::to_string(totals.success),
          std::to_string(totals.failure),
          std::to_string(totals.retries),
          fixed(totals.avg_latency_ms(), 3),
          percent(totals.success_rate())};
}

// Names to the left, figures to the right, columns as wide as their widest entry. All rows have as
// many entries.
std::string aligned(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      widths[column] = std::max(widths[column], row[column].size());
    }
  }
  std::string text;
  for (const Row& row : rows) {
    text += row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (std::size_t column = 1; column < row.size(); ++column) {
      text += std::string(2 + widths[column] - row[column].size(), ' ') + row[column];
    }
    text += '\n';
  }
  return text;
}

}  // namespace

KindTotals& KindTotals::operator+=(const KindTotals& other) {
  sent += other.sent;
  success += other.success;
  failure += other.failure;
  retries += other.retries;
  total_latency_ns += other.total_latency_ns;
  return *this;
}

double KindTotals::avg_latency_ms() const {
  if (success == 0) {
    return 0.0;
  }
  return static_cast<double>(total_latency_ns) / static_cast<double>(success) / 1e6;
}

double KindTotals::success_rate() const { return rate(success, sent); }

double KindTotals::failure_rate() const { return rate(failure, sent); }

void MessageMetrics::record_sent(Kind kind) { ++kinds_[kind].sent; }

void MessageMetrics::record_success(Kind kind, std::chrono::nanoseconds latency) {
  KindTotals& totals = kinds_[kind];
  ++totals.success;
  totals.total_latency_ns += static_cast<std::uint64_t>(std::max(latency.count(), std::int64_t{0}));
}

void MessageMetrics::record_failure(Kind kind) { ++kinds_[kind].failure; }

void MessageMetrics::record_retry(Kind kind) { ++kinds_[kind].retries; }

void MessageMetrics::add(Kind kind, const KindTotals& totals) { kinds_[kind] += totals; }

void MessageMetrics::name_kind(Kind kind, std::string name) {
  names_.insert_or_assign(kind, std::move(name));
}

std::string MessageMetrics::kind_name(Kind kind) const {
  if (const auto named = names_.find(kind); named != names_.end()) {
    return named->second;
  }
  const auto number = static_cast<std::uint16_t>(kind);
  if (const layout::KindPolicy* built_in = layout::find_built_in_kind(number);
      built_in != nullptr) {
    return std::string(built_in->name);
  }
  return "kind " + std::to_string(number);
}

KindTotals MessageMetrics::totals() const {
  KindTotals sum;
  for (const auto& [kind, totals] : kinds_) {
    sum += totals;
  }
  return sum;
}

KindTotals MessageMetrics::of_kind(Kind kind) const {
  const auto found = kinds_.find(kind);
  return found == kinds_.end() ? KindTotals{} : found->second;
}

std::string MessageMetrics::summary() const {
  const KindTotals sum = totals();
  std::string text = aligned({{"sent", std::to_string(sum.sent)},
                              {"acknowledged", std::to_string(sum.success)},
                              {"failed", std::to_string(sum.failure)},
                              {"retried", std::to_string(sum.retries)},
                              {"success rate", percent(sum.success_rate())},
                              {"failure rate", percent(sum.failure_rate())}});
  if (kinds_.empty()) {
    return text;
  }
  std::vector<Row> rows = {
      {"kind", "sent", "success", "failure", "retries", "avg latency ms", "success rate"}};
  for (const auto& [kind, totals] : kinds_) {
    rows.push_back(kind_row(kind_name(kind), totals));
  }
  return text + '\n' + aligned(rows);
}

}  // namespace ackbus
