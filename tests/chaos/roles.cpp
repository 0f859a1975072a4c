#include "tests/chaos/roles.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace ackbus::chaos {

std::string journal_path(const RoleArguments& arguments) {
  return arguments.folder + "/journal/" + arguments.role + "-" + std::to_string(arguments.index) +
         "-" + std::to_string(arguments.incarnation);
}

ControlPage& open_control_page(const std::string& folder) {
  const std::string path = folder + "/control";
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  void* base =
      fd < 0 ? MAP_FAILED
             : ::mmap(nullptr, sizeof(ControlPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) {
    std::perror(path.c_str());
    std::exit(2);
  }
  ::close(fd);
  return *static_cast<ControlPage*>(base);
}

void pause_ms(int duration_ms) { ::poll(nullptr, 0, duration_ms); }

}  // namespace ackbus::chaos
