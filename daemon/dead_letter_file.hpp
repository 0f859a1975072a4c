// One dead letter as one file: writing it so that it is there whole or not at all, and reading it
// back with every byte checked. Threads: any, one call at a time per file; the store calls from the
// worker thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/dead_letter.hpp"
#include "daemon/dead_letter_format.hpp"
#include "daemon/result.hpp"

namespace ackbus::daemon {

constexpr const char* kLetterSuffix = ".letter";
constexpr const char* kTemporarySuffix = ".letter.tmp";
constexpr const char* kRedrivenSuffix = ".redriven";
constexpr const char* kBadSuffix = ".bad";

/// The name of a letter's file, and its name while its message is under way again as `new_id`.
[[nodiscard]] std::string letter_file_name(const LetterId& id);
[[nodiscard]] std::string redriven_file_name(const LetterId& id, const LetterId& new_id);

/// The new id in the second kind of name; nothing for any other text.
[[nodiscard]] std::optional<LetterId> redriven_as(std::string_view name);

/// The header of `letter`: texts and lists cut to their places, checksums and payload fields still
/// zero.
[[nodiscard]] LetterHeader pack_letter(const Letter& letter);

/// The letter of a header, or kCorrupt naming what is wrong. Takes any bytes.
[[nodiscard]] Result<Letter> unpack_letter(const LetterHeader& header);

/// Writes the letter into the directory: temporary name, fsync, rename, fsync of the directory. The
/// payload is read once, in pieces, because its owner may change it meanwhile; with `store_payload`
/// false only its length and SHA-256 are kept. `still_valid` (may be empty) is asked after the
/// payload was read; false withdraws the letter with kCancelled. On any error nothing is left
/// behind. Replaces a file of the same id.
Result<void> write_letter_file(int directory_fd, const Letter& letter,
                               std::span<const std::byte> payload, bool store_payload,
                               const std::function<bool()>& still_valid);

/// Reads and checks the file `name`; the payload goes into `payload` unless that is null.
/// kNotFound, kCorrupt with what is wrong, or the system's error.
[[nodiscard]] Result<Letter> read_letter_file(int directory_fd, const std::string& name,
                                              std::vector<std::byte>* payload);

/// The same without looking at the payload, for listings.
[[nodiscard]] Result<Letter> read_letter_header(int directory_fd, const std::string& name);

/// Sets the one byte that says that a Success came after the verdict, and syncs it.
Result<void> mark_letter_file_late(int directory_fd, const std::string& name);

}  // namespace ackbus::daemon
