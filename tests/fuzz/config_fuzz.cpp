// The TOML configuration: parse, check, complete, dump, parse again. Data flow: the input's text ->
// parse_config -> complete_config with an environment that the harness makes -> dump_config ->
// parse_config. Checked: what is accepted lies in its documented ranges and survives the round
// trip; an error is one line. One thread.
#include <optional>
#include <string>

#include "daemon/config.hpp"
#include "daemon/config_toml.hpp"
#include "shm_layout/limits.hpp"
#include "tests/fuzz/input.hpp"

namespace ackbus::daemon {
namespace {

Environment environment(std::uint8_t way) {
  Environment made;
  made.user = (way & 1) != 0 ? 0 : 1000;
  made.physical_memory_bytes = std::uint64_t{16} << 30;
  made.variable = [way](const char* name) -> std::optional<std::string> {
    return (way & 2) != 0 ? std::optional<std::string>("/somewhere/" + std::string(name))
                          : std::nullopt;
  };
  made.directory_exists = [way](const std::string&) { return (way & 4) != 0; };
  return made;
}

void check_ranges(const Config& config) {
  ACKBUS_ASSERT(is_valid_bus_name(config.name) && is_valid_metrics_address(config.metrics));
  ACKBUS_ASSERT(config.tick_ms >= 1 && config.log_records_per_minute >= 1);
  ACKBUS_ASSERT(!config.queues.empty() && config.queues.size() <= layout::kQueuesMax);
  ACKBUS_ASSERT(config.limits.max_links >= 1 && config.limits.max_links <= kMaxLinks);
  ACKBUS_ASSERT(layout::is_power_of_two(config.limits.max_slots) &&
                config.limits.max_slots <= layout::kSlotsMax);
  ACKBUS_ASSERT(layout::is_power_of_two(config.limits.default_slots) &&
                config.limits.default_slots <= config.limits.max_slots);
  std::uint16_t before = 0;
  for (const KindConfig& kind : config.kinds) {
    ACKBUS_ASSERT(kind.id > before && kind.id < layout::kKindsMax && is_valid_name(kind.name));
    ACKBUS_ASSERT(kind.timeout_ms >= 1 && kind.max_retries <= 1000 && kind.max_wait_ms >= 1);
    ACKBUS_ASSERT(kind.max_payload_bytes == 0 || kind.max_payload_bytes >= kind.min_payload_bytes);
    ACKBUS_ASSERT(config.find_kind(kind.id) == &kind && config.find_kind(kind.name) == &kind);
    before = kind.id;
  }
  for (const QueueConfig& queue : config.queues) {
    ACKBUS_ASSERT(is_valid_name(queue.name) && config.find_queue(queue.name) == &queue);
  }
}

}  // namespace
}  // namespace ackbus::daemon

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ackbus::daemon;  // NOLINT(google-build-using-namespace)
  ackbus::fuzz::Input input(data, size);
  const std::uint8_t way = input.byte();
  const std::string text = input.rest_as_text();
  if (const std::optional<std::uint64_t> bytes = parse_bytes(text)) {
    ACKBUS_ASSERT(parse_bytes(bytes_text(*bytes)) == bytes);
  }
  Result<Config> parsed = parse_config(text, "fuzz.toml");
  if (!parsed) {
    const std::string& why = parsed.error().text;
    ACKBUS_ASSERT(why.starts_with("fuzz.toml") && why.find('\n') == std::string::npos);
    return 0;
  }
  Config config = std::move(parsed.value());
  check_ranges(config);
  const std::string dumped = dump_config(config);
  const Result<Config> again = parse_config(dumped, "dumped.toml");
  ACKBUS_ASSERT(again.ok() && dump_config(again.value()) == dumped);
  if (complete_config(config, environment(way))) {
    check_ranges(config);
    ACKBUS_ASSERT(!config.runtime_dir.empty() && !config.dead_letter_directory.empty());
    ACKBUS_ASSERT(config.limits.max_memory_bytes > 0);
    const Result<Config> complete = parse_config(dump_config(config), "complete.toml");
    ACKBUS_ASSERT(complete.ok() && keys_for_restart(config, complete.value()).empty());
  }
  Config other = default_config();
  keep_restart_keys(config, other);
  ACKBUS_ASSERT(keys_for_restart(config, other).empty());
  return 0;
}
