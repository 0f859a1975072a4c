#include "daemon/config_toml.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace ackbus::daemon {
namespace {

constexpr std::uint32_t kMaxIdentity =
    UINT32_MAX - 1;  // The last number means "none" to the system.

struct Unit {
  std::string_view name;
  unsigned shift;
};
constexpr std::array<Unit, 5> kUnits = {
    {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0}}};

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

std::string range_text(std::uint64_t least, std::uint64_t most) {
  return "give " + std::to_string(least) + " to " + std::to_string(most);
}

std::string type_text(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a fraction";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

}  // namespace

void TomlErrors::add(const toml::source_region& place, const std::string& thing,
                     const std::string& remedy) {
  if (first_) {
    return;
  }
  std::string line = file_ + ':' + std::to_string(place.begin.line) + ':' +
                     std::to_string(place.begin.column) + ": " + thing + ": " + remedy;
  std::replace_if(
      line.begin(), line.end(), [](char letter) { return letter == '\n' || letter == '\r'; }, ' ');
  first_ = Error{ErrorCode::kInvalid, std::move(line)};
}

TomlTable::TomlTable(TomlErrors& errors, const toml::table& table, std::string path)
    : errors_(errors), table_(table), path_(std::move(path)) {}

const toml::node* TomlTable::take(std::string_view key) {
  known_.emplace_back(key);
  return table_.get(key);
}

void TomlTable::wrong_type(std::string_view key, const toml::node& node,
                           const std::string& wanted) {
  errors_.add(node.source(), path_ + std::string(key) + " is " + type_text(node), "give " + wanted);
}

void TomlTable::fail(std::string_view key, const std::string& thing, const std::string& remedy) {
  const toml::node* node = table_.get(key);
  errors_.add(node != nullptr ? node->source() : table_.source(), thing, remedy);
}

void TomlTable::boolean(std::string_view key, bool& target) {
  const toml::node* node = take(key);
  if (node == nullptr) {
    return;
  }
  if (const auto value = node->value_exact<bool>()) {
    target = *value;
  } else {
    wrong_type(key, *node, "true or false");
  }
}

void TomlTable::number(std::string_view key, std::uint32_t& target, std::uint32_t least,
                       std::uint32_t most) {
  const toml::node* node = take(key);
  if (node == nullptr) {
    return;
  }
  const auto value = node->value_exact<std::int64_t>();
  if (!value) {
    wrong_type(key, *node, "a whole number");
  } else if (*value < least || *value > most) {
    fail(key, path_ + std::string(key) + " = " + std::to_string(*value) + " is out of range",
         range_text(least, most));
  } else {
    target = static_cast<std::uint32_t>(*value);
  }
}

void TomlTable::bytes(std::string_view key, std::uint64_t& target, std::uint64_t least,
                      std::uint64_t most) {
  const toml::node* node = take(key);
  if (node == nullptr) {
    return;
  }
  std::optional<std::uint64_t> value;
  if (const auto count = node->value_exact<std::int64_t>(); count && *count >= 0) {
    value = static_cast<std::uint64_t>(*count);
  } else if (const auto text = node->value_exact<std::string>()) {
    value = parse_bytes(*text);
  } else if (!count) {
    wrong_type(key, *node, "a number of bytes or a text as \"16 MiB\"");
    return;
  }
  if (!value) {
    fail(key, path_ + std::string(key) + " is no size", "give a text as \"16 MiB\" or bytes");
  } else if (*value < least || *value > most) {
    fail(key, path_ + std::string(key) + " = " + bytes_text(*value) + " is out of range",
         "give " + bytes_text(least) + " to " + bytes_text(most));
  } else {
    target = *value;
  }
}

void TomlTable::text(std::string_view key, std::string& target, const TextCheck& check,
                     const std::string& remedy) {
  const toml::node* node = take(key);
  if (node == nullptr) {
    return;
  }
  const auto value = node->value_exact<std::string>();
  if (!value) {
    wrong_type(key, *node, "a text");
  } else if (!check(*value)) {
    fail(key, path_ + std::string(key) + " = " + quoted(*value) + " is not valid", remedy);
  } else {
    target = *value;
  }
}

void TomlTable::identities(
    std::string_view key, std::vector<std::uint32_t>& target, const std::string& what,
    const std::function<std::optional<std::uint32_t>(const std::string&)>& lookup) {
  const toml::node* node = take(key);
  if (node == nullptr) {
    return;
  }
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    wrong_type(key, *node, "a list of " + what + " names and numbers");
    return;
  }
  for (const toml::node& entry : *list) {
    std::optional<std::uint32_t> identity;
    if (const auto name = entry.value_exact<std::string>()) {
      identity = lookup(*name);
      if (!identity) {
        errors_.add(entry.source(), path_ + std::string(key) + ": no " + what + " " + quoted(*name),
                    "create it or correct the name");
        return;
      }
    } else if (const auto number = entry.value_exact<std::int64_t>();
               number && *number >= 0 && *number <= kMaxIdentity) {
      identity = static_cast<std::uint32_t>(*number);
    } else {
      errors_.add(entry.source(), path_ + std::string(key) + ": an entry is no " + what,
                  "give a name or a number of 0 to " + std::to_string(kMaxIdentity));
      return;
    }
    target.push_back(*identity);
  }
}

const toml::table* TomlTable::table(std::string_view key) {
  const toml::node* node = take(key);
  if (node == nullptr) {
    return nullptr;
  }
  if (node->as_table() == nullptr) {
    wrong_type(key, *node, "a table: [" + path_ + std::string(key) + "]");
  }
  return node->as_table();
}

std::vector<const toml::table*> TomlTable::tables(std::string_view key) {
  std::vector<const toml::table*> found;
  const toml::node* node = take(key);
  if (node == nullptr) {
    return found;
  }
  const toml::array* list = node->as_array();
  if (list == nullptr) {
    wrong_type(key, *node, "one or more tables: [[" + path_ + std::string(key) + "]]");
    return found;
  }
  for (const toml::node& entry : *list) {
    if (entry.as_table() == nullptr) {
      wrong_type(key, entry, "tables only: [[" + path_ + std::string(key) + "]]");
      break;
    }
    found.push_back(entry.as_table());
  }
  return found;
}

void TomlTable::finish() {
  for (auto&& [key, node] : table_) {
    if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) {
      continue;
    }
    std::string remedy = "use one of";
    for (const std::string& known : known_) {
      remedy += (&known == &known_.front() ? " " : ", ") + known;
    }
    errors_.add(key.source(), "unknown key " + path_ + std::string(key.str()), remedy);
    return;
  }
}

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  std::uint64_t value = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) {
    return std::nullopt;
  }
  std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  if (unit.empty()) {
    return value;
  }
  unit.remove_prefix(unit.front() == ' ' ? 1 : 0);
  for (const Unit& known : kUnits) {
    if (known.name == unit) {
      const bool fits = value <= UINT64_MAX >> known.shift;
      return fits ? std::optional(value << known.shift) : std::nullopt;
    }
  }
  return std::nullopt;
}

std::string bytes_text(std::uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    const std::uint64_t one = std::uint64_t{1} << unit.shift;
    if (bytes % one == 0 && bytes >= one && unit.shift > 0) {
      return std::to_string(bytes >> unit.shift) + ' ' + std::string(unit.name);
    }
  }
  return std::to_string(bytes);
}

}  // namespace ackbus::daemon
