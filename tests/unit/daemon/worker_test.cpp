// The worker thread: jobs run elsewhere, completions run here, the queue is bounded, and segments
// are what they promise.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "daemon/allocator_worker.hpp"

namespace ackbus::daemon {
namespace {

std::unique_ptr<AllocatorWorker> make_worker(std::size_t capacity) {
  auto worker = AllocatorWorker::create(capacity);
  EXPECT_TRUE(worker.ok());
  return std::move(worker).value();
}

/// Waits for the next completion as the daemon's loop does; the test's own limit ends a hang.
void run_next_completions(AllocatorWorker& worker) {
  pollfd waiting{worker.completion_fd(), POLLIN, 0};
  ASSERT_EQ(poll(&waiting, 1, 60'000), 1);
  worker.run_completions();
}

TEST(AllocatorWorker, RunsJobsOnItsThreadAndCompletionsOnTheCallers) {
  auto worker = make_worker(4);
  std::thread::id job_thread;
  std::thread::id done_thread;
  ASSERT_TRUE(worker->submit([&] { job_thread = std::this_thread::get_id(); },
                             [&] { done_thread = std::this_thread::get_id(); }));
  run_next_completions(*worker);
  EXPECT_NE(job_thread, std::this_thread::get_id());
  EXPECT_EQ(done_thread, std::this_thread::get_id());
  EXPECT_EQ(worker->pending(), 0U);
}

TEST(AllocatorWorker, CompletionsComeInTheOrderOfTheJobs) {
  auto worker = make_worker(100);
  std::vector<int> order;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(worker->submit([] {}, [&order, i] { order.push_back(i); }));
  }
  while (worker->pending() > 0) {
    run_next_completions(*worker);
  }
  ASSERT_EQ(order.size(), 100U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(AllocatorWorker, RefusesAJobWhenFullUntilACompletionWasRun) {
  auto worker = make_worker(2);
  std::promise<void> gate;
  std::shared_future<void> opened(gate.get_future());
  ASSERT_TRUE(worker->submit([opened] { opened.wait(); }, nullptr));
  ASSERT_TRUE(worker->submit([] {}, nullptr));
  EXPECT_FALSE(worker->submit([] {}, nullptr));
  gate.set_value();
  run_next_completions(*worker);
  EXPECT_TRUE(worker->submit([] {}, nullptr));
}

TEST(AllocatorWorker, StopRunsEverythingQueuedAndAcceptsNoMore) {
  auto worker = make_worker(50);
  int ran = 0;
  int completed = 0;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(worker->submit([&ran] { ++ran; }, [&completed] { ++completed; }));
  }
  worker->stop();
  EXPECT_EQ(ran, 50);
  EXPECT_FALSE(worker->submit([] {}, nullptr));
  EXPECT_EQ(worker->run_completions(), 50U);
  EXPECT_EQ(completed, 50);
}

TEST(AllocatorWorker, HandsAValueThatCannotBeCopiedToTheCompletion) {
  auto worker = make_worker(1);
  UniqueFd segment;
  ASSERT_TRUE(worker->submit_for<Result<UniqueFd>>(
      [] { return allocate_segment("ackbus-test", 4096); },
      [&](Result<UniqueFd> made) { segment = std::move(made).value(); }));
  run_next_completions(*worker);
  EXPECT_TRUE(segment.valid());
}

TEST(AllocatorWorker, ReleaseClosesTheDescriptors) {
  auto worker = make_worker(1);
  std::vector<UniqueFd> descriptors;
  descriptors.emplace_back(memfd_create("ackbus-test", MFD_CLOEXEC));
  const int number = descriptors.front().get();
  worker->release(std::move(descriptors));
  worker->stop();
  EXPECT_EQ(fcntl(number, F_GETFD), -1);
}

TEST(AllocateSegment, HasItsMemoryItsModeAndItsSeals) {
  const std::uint64_t bytes = (std::uint64_t{64} << 20) + 4096;  // One piece and a rest.
  auto segment = allocate_segment("ackbus-test", bytes);
  ASSERT_TRUE(segment.ok()) << segment.error().text;
  struct stat state {};
  ASSERT_EQ(fstat(segment.value().get(), &state), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(state.st_size), bytes);
  EXPECT_GE(static_cast<std::uint64_t>(state.st_blocks) * 512, bytes);
  EXPECT_EQ(state.st_mode & 0777U, 0600U);
  EXPECT_EQ(fcntl(segment.value().get(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW);
  EXPECT_NE(ftruncate(segment.value().get(), 1), 0);
  EXPECT_NE(ftruncate(segment.value().get(), static_cast<off_t>(bytes) * 2), 0);
  EXPECT_EQ(fcntl(segment.value().get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(AllocateSegment, SaysNeededAndFreeWhenTheMemoryIsNotThere) {
  const std::uint64_t bytes = std::uint64_t{1} << 52;
  const auto segment = allocate_segment("ackbus-huge", bytes);
  ASSERT_FALSE(segment.ok());
  EXPECT_EQ(segment.error().code, ErrorCode::kNoMemory);
  EXPECT_NE(segment.error().text.find("4503599627370496 bytes needed"), std::string::npos);
  EXPECT_NE(segment.error().text.find("bytes free"), std::string::npos);
  EXPECT_EQ(segment.error().text.find('\n'), std::string::npos);
}

TEST(AllocateSegment, RefusesASizeThatIsNone) {
  EXPECT_EQ(allocate_segment("ackbus-test", 0).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(allocate_segment("ackbus-test", UINT64_MAX).error().code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace ackbus::daemon
