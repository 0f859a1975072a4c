// A daemon that cannot start says what is in its way and what to do; and the words for the system's
// errors.
#include "tests/unit/daemon/bus_fixture.hpp"

namespace ackbus::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(BusOpen, OneDaemonServesABus) {
  TestBus first;
  ASSERT_TRUE(first);
  TestBus second([&](BusOptions& options) { options.config.runtime_dir = first.folder() / "run"; });
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kExists);
  EXPECT_THAT(second.error().text, AllOf(HasSubstr("another daemon serves bus 'default'"),
                                         HasSubstr("choose another --bus or --runtime-dir")));
  EXPECT_TRUE(TestClient(first, layout::ClientRole::kTool).hear(layout::ControlType::kWelcome))
      << "and the first one still does";
}

TEST(BusOpen, NamesTheDirectoryThatItCannotUse) {
  TestBus no_place([](BusOptions& options) { options.config.runtime_dir = "/dev/null/run"; });
  ASSERT_FALSE(no_place);
  EXPECT_THAT(no_place.error().text,
              AllOf(HasSubstr("cannot make the runtime directory /dev/null/run"),
                    HasSubstr("--runtime-dir")));
  TestBus a_file([](BusOptions& options) { options.config.runtime_dir = "/dev/null"; });
  ASSERT_FALSE(a_file);
  EXPECT_THAT(a_file.error().text, HasSubstr("cannot open /dev/null/default.lock"));
  TestBus letters(
      [](BusOptions& options) { options.config.dead_letter_directory = "/dev/null/dead"; });
  ASSERT_FALSE(letters);
  EXPECT_THAT(letters.error().text, HasSubstr("/dev/null/dead"));
}

TEST(BusOpen, NamesTheSocketThatItCannotBind) {
  TestBus too_long([](BusOptions& options) {
    options.config.runtime_dir += "/" + std::string(120, 'd');
    std::filesystem::create_directories(options.config.runtime_dir);
  });
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(too_long.error().text, HasSubstr("choose a shorter --runtime-dir"));
  TestBus in_the_way([](BusOptions& options) {
    std::filesystem::create_directories(options.config.runtime_dir + "/default.sock/taken");
  });
  ASSERT_FALSE(in_the_way);
  EXPECT_EQ(in_the_way.error().code, ErrorCode::kExists);
  EXPECT_THAT(in_the_way.error().text, HasSubstr("cannot listen on"));
}

TEST(BusOpen, NamesTheMetricsAddressThatIsTaken) {
  TestBus first([](BusOptions& options) { options.config.metrics = "127.0.0.1:0"; });
  ASSERT_TRUE(first);
  const std::string taken = "127.0.0.1:" + std::to_string(first->exporter->port());
  TestBus second([&](BusOptions& options) { options.config.metrics = taken; });
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().text, HasSubstr(taken));
}

TEST(BusOpen, TheSocketIsForTheDaemonsUserUnlessOthersAreListed) {
  const auto mode_of = [](const TestBus& bus) {
    return std::filesystem::status(bus.path()).permissions();
  };
  using std::filesystem::perms;
  const perms own = perms::owner_read | perms::owner_write;
  TestBus alone;
  EXPECT_EQ(mode_of(alone), own);
  TestBus shared([](BusOptions& options) { options.config.tools.users = {4711}; });
  EXPECT_EQ(mode_of(shared), own | perms::group_read | perms::group_write | perms::others_read |
                                 perms::others_write);
}

TEST(SystemErrors, AreSortedByWhatOneCanDo) {
  const std::pair<int, ErrorCode> codes[] = {
      {EACCES, ErrorCode::kPermission}, {EPERM, ErrorCode::kPermission},
      {EROFS, ErrorCode::kPermission},  {ENOENT, ErrorCode::kNotFound},
      {EEXIST, ErrorCode::kExists},     {EADDRINUSE, ErrorCode::kExists},
      {ENOSPC, ErrorCode::kNoSpace},    {EDQUOT, ErrorCode::kNoSpace},
      {ENOMEM, ErrorCode::kNoMemory},   {EAGAIN, ErrorCode::kBusy},
      {EBUSY, ErrorCode::kBusy},        {EIO, ErrorCode::kSystem},
  };
  for (const auto& [number, code] : codes) {
    EXPECT_EQ(code_of_errno(number), code) << number;
    EXPECT_EQ(system_error("cannot", number).text, std::string("cannot: ") + std::strerror(number));
  }
}

}  // namespace
}  // namespace ackbus::daemon
