// A daemon that ends in the middle of a redrive: in order, killed with its memory kept by a
// supervisor, killed with everything it had. The message comes through, or there is one dead letter
// that knows where it came from; never both, never neither.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <random>

#include "tests/process/harness.hpp"

namespace ackbus::process_test {
namespace {

constexpr const char* kPayload =
    "a payload that is longer than the sixty-four bytes of a descriptor";

class RedriveRestart : public ProcessTest {
 protected:
  // Says the payload of each delivery, then does with it what the test says, "ack" or "nack" (give
  // it back), and says that it is done.
  static Helper obedient(const ConsumerOptions& options) {
    return Helper::consume(options, [](Consumer& consumer, const Channel& test) {
      for (;;) {
        Result<std::optional<Delivery>> taken = consumer.take(soon(seconds(3600)));
        if (!taken || !*taken) {
          return 0;
        }
        test.say(text_of((*taken)->payload));
        const std::string word = test.hear(soon(seconds(3600))).value_or("nothing");
        if (!(word == "ack" ? consumer.ack(**taken) : consumer.nack(**taken, milliseconds(0)))) {
          return 2;
        }
        test.say("done");
      }
    });
  }

  // Does the same with everything, and speaks of it.
  static Helper always(const ConsumerOptions& options, bool acks) {
    return Helper::consume(options, [acks](Consumer& consumer, const Channel& test) {
      for (;;) {
        Result<std::optional<Delivery>> taken = consumer.take(soon(seconds(3600)));
        if (!taken || !*taken) {
          return 0;
        }
        const std::string text = text_of((*taken)->payload);
        if (acks ? !consumer.ack(**taken) : !consumer.nack(**taken, milliseconds(0))) {
          return 2;
        }
        test.say(text);
      }
    });
  }

  static ConsumerOptions consumer_of(const Bus& bus, const std::string& queue) {
    ConsumerOptions options = bus.consumer_options();
    options.queue = queue;
    return options;
  }

  // Messages that a consumer gave back more often than they may be, by their payloads: dead letters
  // now. Nobody consumes afterwards.
  static std::vector<std::string> make_letters(const Bus& bus,
                                               const std::vector<std::string>& payloads,
                                               const std::string& queue = "gpu0") {
    Helper consumer = always(consumer_of(bus, queue), false);
    ProducerOptions options = bus.producer_options();
    options.queue = queue;
    Producer producer = bus.producer(options);
    SendOptions once;
    once.max_retries = 0;
    std::vector<std::string> ids;
    for (const std::string& payload : payloads) {
      const Ticket ticket = send(producer, payload, once);
      EXPECT_EQ(outcome_of(producer, ticket).code, OutcomeCode::kExhausted);
      ids.push_back(ticket.id.to_string());
    }
    consumer.child.end();
    EXPECT_TRUE(eventually([&] { return bus.queue(queue)["consumer"].is_null(); }));
    return ids;
  }
  static std::string make_letter(const Bus& bus) { return make_letters(bus, {kPayload}).front(); }

  static std::string redrive(const Bus& bus, const std::string& id) {
    const Ran ran = bus.ackbus({"dead", "redrive", id, "--json"});
    EXPECT_EQ(ran.status, 0) << ran.errors;
    return ran.status == 0 ? json::parse(ran.output)["redriven"][0]["new_id"].get<std::string>()
                           : "";
  }

  static json letters(const Bus& bus) {
    const json answer = bus.ask({{"verb", "dead_list"}, {"limit", 1000}});
    return answer.is_null() ? json() : answer["letters"];
  }
  static json letter(const Bus& bus, const std::string& id) {
    return bus.ask({{"verb", "dead_show"}, {"id", id}});
  }
  static bool await_letters(const Bus& bus, std::size_t count) {
    return eventually([&] { return letters(bus).is_array() && letters(bus).size() == count; });
  }
  // Letters of any name: also those that wait for the end of a redrive.
  static std::size_t files(const Bus& bus) {
    const std::filesystem::directory_iterator all(bus.dead_letter_dir());
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }
  static bool await_files(const Bus& bus, std::size_t count) {
    return eventually([&] { return files(bus) == count; });
  }

  static void kill_without_store(Bus& bus) {
    bus.program().child.signal(SIGKILL);
    ASSERT_TRUE(bus.program().child.wait());
  }
  static void stop_in_order(Bus& bus) {
    bus.program().child.signal(SIGTERM);
    const std::optional<ProcessEnd> end = bus.program().child.wait();
    ASSERT_TRUE(end);
    EXPECT_EQ(end->exit_status, 0) << bus.program().errors();
  }

  // The one letter there is: of the message that was redriven from `before`.
  static void expect_successor(const Bus& bus, const json& before, const std::string& reason) {
    ASSERT_TRUE(await_letters(bus, 1)) << letters(bus).dump(2);
    const json after = letter(bus, letters(bus)[0]["id"]);
    EXPECT_NE(after["id"], before["id"]);
    EXPECT_EQ(after["origin"], before["id"]);
    EXPECT_EQ(after["reason"], reason);
    EXPECT_EQ(after["attempts"], 1);
    ASSERT_EQ(after["history"].size(), 1U) << after.dump(2);
    EXPECT_EQ(after["history"][0]["id"], before["id"]);
    EXPECT_EQ(after["history"][0]["reason"], before["reason"]);
    EXPECT_EQ(after["history"][0]["attempts"], before["attempts"]);
    EXPECT_EQ(after["history"][0]["exhausted_at"], before["exhausted_at"]);
    EXPECT_EQ(after["sender_pid"], ::getpid());
    EXPECT_EQ(after["sent_at"], before["sent_at"]);
    EXPECT_EQ(after["payload_sha256"], before["payload_sha256"]);
    EXPECT_TRUE(await_files(bus, 1)) << "the letter before it is gone";
  }
};

class RedriveCleanStop : public RedriveRestart, public ::testing::WithParamInterface<bool> {};

TEST_P(RedriveCleanStop, APendingRedriveIsALetterAgainWithItsHistory) {
  Bus bus({.supervised = GetParam()});
  const std::string id = make_letter(bus);
  const json before = letter(bus, id);
  Helper consumer = obedient(bus.consumer_options());
  redrive(bus, id);
  ASSERT_EQ(consumer.channel.hear(), kPayload);
  EXPECT_EQ(letters(bus).size(), 0U) << "what is under way is no dead letter";
  stop_in_order(bus);
  consumer.child.end();
  bus.start();
  expect_successor(bus, before, "closed");
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutStore, RedriveCleanStop, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "Supervised" : "Alone"; });

TEST_F(RedriveRestart, WhatARemovedQueueClosesIsALetterAgainWithItsHistory) {
  Bus bus;
  const std::string id = make_letters(bus, {kPayload}, "doomed").front();
  const json before = letter(bus, id);
  Helper consumer = obedient(consumer_of(bus, "doomed"));
  redrive(bus, id);
  ASSERT_EQ(consumer.channel.hear(), kPayload);
  EXPECT_FALSE(bus.ask({{"verb", "remove_queue"}, {"queue", "doomed"}}).is_null());
  expect_successor(bus, before, "closed");
}

TEST_F(RedriveRestart, AMessageThatFailsAfterItsDaemonWasKilledKeepsItsHistory) {
  Bus bus({.supervised = true});
  const std::string id = make_letter(bus);
  const json before = letter(bus, id);
  Helper consumer = obedient(bus.consumer_options());
  const std::string new_id = redrive(bus, id);
  ASSERT_EQ(consumer.channel.hear(), kPayload);
  bus.kill_daemon_and_wait();
  EXPECT_EQ(letters(bus).size(), 0U) << "its message is still under way";
  consumer.channel.say("nack");
  expect_successor(bus, before, "retries");
  EXPECT_EQ(letters(bus)[0]["id"], new_id);
}

TEST_F(RedriveRestart, AMessageThatSucceedsAfterItsDaemonWasKilledLeavesNoLetter) {
  Bus bus({.supervised = true});
  const std::string id = make_letter(bus);
  Helper consumer = obedient(bus.consumer_options());
  redrive(bus, id);
  ASSERT_EQ(consumer.channel.hear(), kPayload);
  bus.kill_daemon_and_wait();
  EXPECT_EQ(files(bus), 1U) << "kept until the message is done";
  consumer.channel.say("ack");
  EXPECT_TRUE(await_files(bus, 0));
  EXPECT_EQ(letters(bus).size(), 0U);
}

TEST_F(RedriveRestart, AnAckThatItsDaemonNeverSawLeavesNoLetter) {
  Bus bus({.supervised = true});
  const std::string id = make_letter(bus);
  Helper consumer = obedient(bus.consumer_options());
  redrive(bus, id);
  ASSERT_EQ(consumer.channel.hear(), kPayload);
  const std::uint64_t before = bus.incarnation();
  const pid_t victim = bus.daemon_pid();
  ASSERT_EQ(::kill(victim, SIGSTOP), 0);
  consumer.channel.say("ack");
  ASSERT_EQ(consumer.channel.hear(), "done");
  ASSERT_EQ(::kill(victim, SIGKILL), 0);
  ASSERT_TRUE(bus.wait_incarnation_after(before));
  EXPECT_TRUE(await_files(bus, 0));
  EXPECT_EQ(letters(bus).size(), 0U);
}

TEST_F(RedriveRestart, WithoutItsStoreAKilledDaemonFindsTheLetterAsItWas) {
  for (const bool begun : {true, false}) {
    Bus bus;
    const std::string id = make_letter(bus);
    const json before = letter(bus, id);
    Helper consumer =
        begun ? obedient(bus.consumer_options()) : Helper([](const Channel&) { return 0; });
    redrive(bus, id);
    if (begun) {
      ASSERT_EQ(consumer.channel.hear(), kPayload);
    }
    kill_without_store(bus);
    consumer.child.end();
    bus.start();
    ASSERT_TRUE(await_letters(bus, 1));
    EXPECT_EQ(letter(bus, id), before);
    EXPECT_EQ(files(bus), 1U);
    // It can be sent again, and then it is done.
    Helper acks = always(bus.consumer_options(), true);
    redrive(bus, id);
    EXPECT_EQ(acks.channel.hear(), kPayload);
    EXPECT_TRUE(await_files(bus, 0));
  }
}

TEST_F(RedriveRestart, WithoutItsStoreAKilledDaemonFindsTheLatestLetterOnce) {
  Bus bus;
  const std::string id = make_letter(bus);
  const json before = letter(bus, id);
  Helper consumer = always(bus.consumer_options(), false);
  redrive(bus, id);
  ASSERT_TRUE(await_letters(bus, 1));
  kill_without_store(bus);
  consumer.child.end();
  bus.start();
  expect_successor(bus, before, "retries");
}

TEST_F(RedriveRestart, HistoryGrowsOverEveryRestart) {
  Bus bus({.supervised = true});
  const std::string first = make_letter(bus);
  const json before = letter(bus, first);
  std::string id = first;
  Helper consumer = obedient(bus.consumer_options());
  for (std::size_t round = 1; round <= 3; ++round) {
    const std::string new_id = redrive(bus, id);
    ASSERT_EQ(consumer.channel.hear(), kPayload);
    bus.kill_daemon_and_wait();
    consumer.channel.say("nack");
    ASSERT_EQ(consumer.channel.hear(), "done");
    ASSERT_TRUE(await_letters(bus, 1));
    const json now = letter(bus, new_id);
    ASSERT_TRUE(now.is_object());
    EXPECT_EQ(now["origin"], first);
    ASSERT_EQ(now["history"].size(), round);
    EXPECT_EQ(now["history"][round - 1]["id"], id);
    EXPECT_EQ(now["sent_at"], before["sent_at"]);
    EXPECT_EQ(now["sender_pid"], ::getpid());
    id = new_id;
  }
  EXPECT_TRUE(await_files(bus, 1));
}

// More messages than the daemon's own link has slots, so that the last one waits for room, taken
// out of the store and not yet sent, when the daemon is killed.
TEST_F(RedriveRestart, ALetterThatWaitedForRoomIsALetterAgain) {
  Bus bus({.supervised = true});
  std::vector<std::string> payloads;
  for (int i = 0; i < 65; ++i) {
    payloads.push_back("payload " + std::to_string(i));
  }
  const std::vector<std::string> ids = make_letters(bus, payloads);
  const json newest = letter(bus, ids.back());
  Program all(bus.folder(), "ackbus", bus.on_this_bus({"dead", "redrive", "all"}));
  const auto taken_out = [&](const std::string& id) {
    const std::filesystem::directory_iterator names(bus.dead_letter_dir());
    return std::any_of(begin(names), end(names), [&](const auto& entry) {
      const std::string name = entry.path().filename();
      return name.starts_with(id) && name.ends_with(".redriven");
    });
  };
  ASSERT_TRUE(eventually([&] { return taken_out(ids.back()); }));
  bus.kill_daemon_and_wait();
  ASSERT_TRUE(await_letters(bus, 1));
  EXPECT_EQ(letter(bus, ids.back()), newest);
  Helper consumer = always(bus.consumer_options(), true);
  std::map<std::string, int> delivered;
  for (std::size_t i = 0; i + 1 < payloads.size(); ++i) {
    delivered[consumer.channel.hear().value_or("nothing")] += 1;
  }
  EXPECT_TRUE(await_files(bus, 1));
  redrive(bus, ids.back());
  delivered[consumer.channel.hear().value_or("nothing")] += 1;
  EXPECT_TRUE(await_files(bus, 0));
  EXPECT_EQ(delivered.size(), payloads.size());
}

// The ring of acks has gone round when the daemon is killed: the next one finds its place in it.
TEST_F(RedriveRestart, RedrivesGoOnAfterManyAcksAndAKilledDaemon) {
  Bus bus({.supervised = true});
  constexpr std::size_t kMany = 70;  // more than the own link's slots
  const std::vector<std::string> ids =
      make_letters(bus, std::vector<std::string>(2 * kMany, kPayload));
  Helper consumer = always(bus.consumer_options(), true);
  const auto redriven = [&](const std::string& id) {  // not at once: so many a second, and no more
    return eventually([&] {
      return !bus.ask({{"verb", "dead_redrive"}, {"id", id}}).is_null() ||
             letter(bus, id).is_null();
    });
  };
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i == kMany) {
      ASSERT_TRUE(await_files(bus, kMany));
      bus.kill_daemon_and_wait();
    }
    ASSERT_TRUE(redriven(ids[i]));
    ASSERT_EQ(consumer.channel.hear(), kPayload);
  }
  EXPECT_TRUE(await_files(bus, 0));
}

TEST_F(RedriveRestart, DaemonsKilledAgainAndAgainDeliverEveryLetterExactlyOnce) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  Bus bus({.supervised = true});
  std::vector<std::string> payloads;
  for (int i = 0; i < 60; ++i) {
    payloads.push_back("payload " + std::to_string(i));
  }
  make_letters(bus, payloads);
  Helper consumer = always(bus.consumer_options(), true);
  std::map<std::string, int> delivered;
  const auto hear_all = [&] {
    while (const std::optional<std::string> payload = consumer.channel.heard()) {
      delivered[*payload] += 1;
    }
    return delivered.size();
  };
  for (int kills = 0; kills < 6; ++kills) {
    Program all(bus.folder(), "ackbus", bus.on_this_bus({"dead", "redrive", "all"}));
    const std::size_t enough = hear_all() + random() % 12;
    ASSERT_TRUE(eventually([&] { return hear_all() >= enough || !all.child.running(); }));
    bus.kill_daemon_and_wait();
  }
  ASSERT_TRUE(eventually([&] {
    (void)bus.ask({{"verb", "dead_redrive"}, {"id", "all"}});
    return files(bus) == 0;
  }));
  ASSERT_TRUE(eventually([&] { return hear_all() == payloads.size(); }));
  for (const std::string& payload : payloads) {
    EXPECT_EQ(delivered[payload], 1) << payload;
  }
}

}  // namespace
}  // namespace ackbus::process_test
