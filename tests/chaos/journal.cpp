#include "tests/chaos/journal.hpp"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "shm_layout/assert.hpp"

namespace ackbus::chaos {

Journal::Journal(const std::string& path)
    : fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
  if (fd_ < 0) {
    std::fprintf(stderr, "journal %s: %s\n", path.c_str(), std::strerror(errno));
    std::exit(2);
  }
}

Journal::~Journal() { ::close(fd_); }

void Journal::write(Record record) const {
  record.time_ns = clock_ns();
  const ssize_t written = ::write(fd_, &record, sizeof(record));
  ACKBUS_ASSERT(written == static_cast<ssize_t>(sizeof(record)));
}

std::vector<Record> read_journal(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const auto bytes = static_cast<std::size_t>(file ? static_cast<std::streamoff>(file.tellg()) : 0);
  ACKBUS_ASSERT(bytes % sizeof(Record) == 0);
  std::vector<Record> records(bytes / sizeof(Record));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(records.data()), static_cast<std::streamsize>(bytes));
  return records;
}

std::uint64_t clock_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace ackbus::chaos
