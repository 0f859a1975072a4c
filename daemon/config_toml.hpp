// Reading one TOML table key by key, with the errors that a person can act on. Used by config.cpp
// alone; one thread.
//
// Every getter leaves its target as it is when the key is absent. The first error is kept, with its
// place in the file; after it nothing more is reported. finish() finds the keys that nobody asked
// for.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/result.hpp"

namespace ackbus::daemon {

/// The first error of a file.
class TomlErrors {
 public:
  explicit TomlErrors(std::string file) : file_(std::move(file)) {}

  /// "FILE:LINE:COLUMN: thing: remedy", unless there is an error already.
  void add(const toml::source_region& place, const std::string& thing, const std::string& remedy);

  [[nodiscard]] const std::optional<Error>& first() const { return first_; }

 private:
  std::string file_;
  std::optional<Error> first_;
};

class TomlTable {
 public:
  using TextCheck = std::function<bool(std::string_view)>;

  /// `path` is what stands before a key in errors: "" or "limits.".
  TomlTable(TomlErrors& errors, const toml::table& table, std::string path);

  void boolean(std::string_view key, bool& target);
  void number(std::string_view key, std::uint32_t& target, std::uint32_t least, std::uint32_t most);
  /// A number of bytes, or a text as "16 MiB" (B, KiB, MiB, GiB, TiB).
  void bytes(std::string_view key, std::uint64_t& target, std::uint64_t least, std::uint64_t most);
  /// A text that `check` accepts; `remedy` says what it accepts.
  void text(std::string_view key, std::string& target, const TextCheck& check,
            const std::string& remedy);
  /// Users or groups: numbers, or names that `lookup` knows. `what` is "user" or "group".
  void identities(std::string_view key, std::vector<std::uint32_t>& target, const std::string& what,
                  const std::function<std::optional<std::uint32_t>(const std::string&)>& lookup);
  /// A table of the table; null when absent.
  const toml::table* table(std::string_view key);
  /// The tables of an array of tables ([[key]]); empty when absent.
  std::vector<const toml::table*> tables(std::string_view key);

  [[nodiscard]] bool has(std::string_view key) const { return table_.contains(key); }

  /// An error about the value of `key`, or about the table when the key is absent.
  void fail(std::string_view key, const std::string& thing, const std::string& remedy);

  /// Reports the first key that no getter asked for.
  void finish();

 private:
  const toml::node* take(std::string_view key);
  void wrong_type(std::string_view key, const toml::node& node, const std::string& wanted);

  TomlErrors& errors_;
  const toml::table& table_;
  const std::string path_;
  std::vector<std::string> known_;
};

/// The bytes of a text as "16 MiB" or "4096"; nothing for any other text or beyond 64 bits.
[[nodiscard]] std::optional<std::uint64_t> parse_bytes(std::string_view text);

/// The shortest such text that says exactly so many bytes.
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);

}  // namespace ackbus::daemon
