#include "tools/fd_store_server.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

namespace ackbus::tools {
namespace {

constexpr int kFirstDescriptor = 3;
constexpr std::size_t kMaxTextBytes = 4096;
constexpr std::size_t kMaxDescriptorsPerMessage = 253;  // The kernel's own limit.
constexpr std::size_t kMaxMessagesPerCall = 256;
constexpr std::size_t kMaxNameLength = 8;
constexpr std::size_t kMaxPidDigits = 10;

void close_all(std::vector<int>& descriptors) {
  for (const int fd : descriptors) {
    ::close(fd);
  }
  descriptors.clear();
}

bool is_valid_name(std::string_view name) {
  constexpr std::string_view kAllowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
  return !name.empty() && name.size() <= kMaxNameLength &&
         name.find_first_not_of(kAllowed) == std::string_view::npos;
}

/// The assignments of a datagram, one a line; of a key given twice the last counts.
std::map<std::string, std::string> parse(std::string_view text) {
  std::map<std::string, std::string> assignments;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const std::size_t equals = line.find('=');
    if (equals != std::string_view::npos) {
      assignments[std::string(line.substr(0, equals))] = line.substr(equals + 1);
    }
  }
  return assignments;
}

/// True when both numbers mean one open description, so that keeping both would only use up room.
bool is_same_description(int left, int right) {
  const pid_t self = getpid();
  const long order = syscall(SYS_kcmp, self, self, KCMP_FILE, left, right);
  if (order >= 0) {
    return order == 0;
  }
  // Where the call is not allowed: the same file opened in the same way. Anonymous inodes (pidfds)
  // all look alike.
  struct stat a {};
  struct stat b {};
  return fstat(left, &a) == 0 && fstat(right, &b) == 0 && a.st_dev == b.st_dev &&
         a.st_ino == b.st_ino && (S_ISREG(a.st_mode) || S_ISSOCK(a.st_mode)) &&
         fcntl(left, F_GETFL) == fcntl(right, F_GETFL);
}

/// What earlier managers left in the environment and the child must not see.
bool is_managers_variable(const std::string& assignment) {
  constexpr std::array<const char*, 7> kNames = {
      "LISTEN_PID=",    "LISTEN_FDS=",   "LISTEN_FDNAMES=", "NOTIFY_SOCKET=",
      "WATCHDOG_USEC=", "WATCHDOG_PID=", "FDSTORE="};
  return std::any_of(kNames.begin(), kNames.end(),
                     [&](const char* name) { return assignment.rfind(name, 0) == 0; });
}

int bind_socket(const std::string& path, std::string& error) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    error =
        "notification socket " + path + ": the path is too long: choose a shorter --runtime-dir";
    return -1;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  unlink(path.c_str());
  // The mode set before bind is the mode of the socket's file, so there is no moment when others
  // may connect.
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      fchmod(fd, 0600) != 0 ||
      bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    error = "notification socket " + path + ": " + std::strerror(errno) +
            ": choose a --runtime-dir that can be written";
    if (fd >= 0) {
      ::close(fd);
    }
    return -1;
  }
  return fd;
}

}  // namespace

/// One received datagram, its text and what the kernel says of its sender.
struct FdStoreServer::Datagram {
  std::string text;
  std::optional<ucred> sender;
  bool is_truncated = false;

  /// Takes the next datagram and its descriptors. False when none waits.
  bool receive(int socket, std::vector<int>& descriptors) {
    std::array<char, kMaxTextBytes> buffer{};
    constexpr std::size_t kControlBytes =
        CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int) * kMaxDescriptorsPerMessage);
    alignas(cmsghdr) std::array<char, kControlBytes> control{};
    iovec place{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_iov = &place;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length < 0) {
      return false;
    }
    text.assign(buffer.data(), static_cast<std::size_t>(length));
    is_truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
      take_control_part(*part, descriptors);
    }
    return true;
  }

 private:
  void take_control_part(const cmsghdr& part, std::vector<int>& descriptors) {
    if (part.cmsg_level != SOL_SOCKET) {
      return;
    }
    const std::size_t bytes = part.cmsg_len - CMSG_LEN(0);
    if (part.cmsg_type == SCM_CREDENTIALS && bytes == sizeof(ucred)) {
      std::memcpy(&sender.emplace(), CMSG_DATA(&part), sizeof(ucred));
    } else if (part.cmsg_type == SCM_RIGHTS) {
      const std::size_t count = bytes / sizeof(int);
      descriptors.resize(descriptors.size() + count);
      std::memcpy(descriptors.data() + descriptors.size() - count, CMSG_DATA(&part),
                  count * sizeof(int));
    }
  }
};

std::unique_ptr<FdStoreServer> FdStoreServer::create(const FdStoreServerOptions& options,
                                                     std::string& error) {
  const int socket = bind_socket(options.socket_path, error);
  if (socket < 0) {
    return nullptr;
  }
  return std::unique_ptr<FdStoreServer>(new FdStoreServer(options, socket));
}

FdStoreServer::~FdStoreServer() {
  clear();
  ::close(socket_);
  unlink(options_.socket_path.c_str());
}

void FdStoreServer::expect_child(pid_t pid) {
  child_ = pid;
  state_ = {};
}

std::size_t FdStoreServer::receive() {
  std::size_t handled = 0;
  std::vector<int> descriptors;
  for (; handled < kMaxMessagesPerCall; ++handled) {
    Datagram datagram;
    if (!datagram.receive(socket_, descriptors)) {
      break;
    }
    handle(datagram, descriptors);
    // Whatever was not kept is closed here. Closing is also the answer to BARRIER=1: all that came
    // before it was handled.
    close_all(descriptors);
  }
  return handled;
}

void FdStoreServer::handle(const Datagram& datagram, std::vector<int>& descriptors) {
  if (!datagram.sender || datagram.sender->pid != child_ || datagram.sender->uid != geteuid()) {
    refuse("it came from process " + std::to_string(datagram.sender ? datagram.sender->pid : 0) +
           ", not from the child");
    return;
  }
  if (datagram.is_truncated) {
    refuse("it was cut: too long, or no descriptor is free here (raise the limit of open files)");
    return;
  }
  const auto assignments = parse(datagram.text);
  const auto is_set = [&](const char* key) {
    const auto found = assignments.find(key);
    return found != assignments.end() && found->second == "1";
  };
  const auto name = assignments.find("FDNAME");
  if (is_set("FDSTOREREMOVE") && name != assignments.end()) {
    remove(name->second);
  } else if (is_set("FDSTORE")) {
    handle_store(name == assignments.end() ? "stored" : name->second, descriptors);
  }
  if (is_set("READY")) {
    state_.ready = true;
    state_.reloading = false;
  }
  state_.reloading = state_.reloading || is_set("RELOADING");
  state_.stopping = state_.stopping || is_set("STOPPING");
  state_.watchdog_count += is_set("WATCHDOG") ? 1 : 0;
  if (const auto status = assignments.find("STATUS"); status != assignments.end()) {
    state_.status = status->second;
  }
}

/// Keeps all descriptors of a datagram or, when they do not fit, none: half a link would be of no
/// use.
void FdStoreServer::handle_store(const std::string& name, std::vector<int>& descriptors) {
  if (!is_valid_name(name)) {
    refuse("a descriptor name has 1 to 8 of A-Z a-z 0-9 _ . -");
    return;
  }
  if (stored_.size() + descriptors.size() > options_.max_descriptors) {
    refuse("it would keep more than " + std::to_string(options_.max_descriptors) + " descriptors");
    return;
  }
  for (const int fd : descriptors) {
    if (keeps(name, fd)) {
      ::close(fd);
    } else {
      stored_.push_back({name, fd});
    }
  }
  descriptors.clear();
}

void FdStoreServer::remove(const std::string& name) {
  const auto ends = std::stable_partition(stored_.begin(), stored_.end(),
                                          [&](const auto& entry) { return entry.name != name; });
  std::for_each(ends, stored_.end(), [](const auto& entry) { ::close(entry.fd); });
  stored_.erase(ends, stored_.end());
}

bool FdStoreServer::keeps(const std::string& name, int fd) const {
  return std::any_of(stored_.begin(), stored_.end(), [&](const auto& entry) {
    return entry.name == name && is_same_description(entry.fd, fd);
  });
}

void FdStoreServer::refuse(std::string reason) {
  ++refused_;
  last_refusal_ = "notification refused: " + std::move(reason);
}

std::size_t FdStoreServer::descriptor_count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::count_if(stored_.begin(), stored_.end(), [&](const auto& e) { return e.name == name; }));
}

void FdStoreServer::clear() {
  std::for_each(stored_.begin(), stored_.end(), [](const auto& entry) { ::close(entry.fd); });
  stored_.clear();
}

ChildLaunch FdStoreServer::prepare_launch(const std::vector<std::string>& environment) const {
  ChildLaunch launch;
  std::string names;
  const auto add = [&](int fd, const std::string& name) {
    names += (launch.descriptors_.empty() ? "" : ":") + name;
    launch.descriptors_.push_back(fd);
  };
  std::for_each(stored_.begin(), stored_.end(),
                [&](const auto& entry) { add(entry.fd, entry.name); });

  std::vector<std::string>& strings = launch.environment_;
  std::copy_if(environment.begin(), environment.end(), std::back_inserter(strings),
               [](const std::string& assignment) { return !is_managers_variable(assignment); });
  strings.push_back("NOTIFY_SOCKET=" + options_.socket_path);
  strings.push_back("FDSTORE=" + std::to_string(options_.max_descriptors));
  if (options_.watchdog_us > 0) {
    strings.push_back("WATCHDOG_USEC=" + std::to_string(options_.watchdog_us));
  }
  const std::string pid_key = "LISTEN_PID=";
  if (!launch.descriptors_.empty()) {
    strings.push_back("LISTEN_FDS=" + std::to_string(launch.descriptors_.size()));
    strings.push_back("LISTEN_FDNAMES=" + names);
    strings.push_back(pid_key + std::string(kMaxPidDigits, '0'));
    launch.pid_text_ = strings.back().data() + pid_key.size();
  }
  for (std::string& assignment : strings) {
    launch.pointers_.push_back(assignment.data());
  }
  launch.pointers_.push_back(nullptr);
  return launch;
}

char** ChildLaunch::prepare_child_environment() noexcept {
  const int end = kFirstDescriptor + static_cast<int>(descriptors_.size());
  // First out of the way of each other, then into place.
  for (int& fd : descriptors_) {
    if (fd < end && (fd = fcntl(fd, F_DUPFD_CLOEXEC, end)) < 0) {
      return nullptr;
    }
  }
  for (int place = kFirstDescriptor; place < end; ++place) {
    if (dup2(descriptors_[static_cast<std::size_t>(place - kFirstDescriptor)], place) < 0) {
      return nullptr;
    }
  }
  if (pid_text_ != nullptr) {
    auto rest = static_cast<unsigned>(getpid());
    std::array<char, kMaxPidDigits> digits{};
    std::size_t count = 0;
    for (; rest > 0; rest /= 10) {
      digits[count++] = static_cast<char>('0' + rest % 10);
    }
    std::reverse_copy(digits.begin(), digits.begin() + count, pid_text_);
    pid_text_[count] = '\0';
  }
  return pointers_.data();
}

}  // namespace ackbus::tools
