// Message ids: their randomness, their forms, and what is refused.
#include <ackbus/message_id.hpp>
//
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <openssl/rand.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

namespace ackbus {
namespace {

constexpr const char* kText = "00112233-4455-4677-8899-aabbccddeeff";
constexpr MessageId::Bytes kBytes = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x46, 0x77,
                                     0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
// More ids than one block of random bytes holds.
constexpr int kMoreThanABlock = 1000;

TEST(MessageId, IsAVersion4Uuid) {
  for (int i = 0; i < kMoreThanABlock; ++i) {
    const MessageId id = MessageId::create();
    EXPECT_EQ(id.bytes()[6] >> 4, 4) << id.to_string();
    EXPECT_EQ(id.bytes()[8] >> 6, 2) << id.to_string();
    EXPECT_FALSE(id.is_nil());
  }
}

TEST(MessageId, IsNeverTheSameTwice) {
  std::unordered_set<MessageId> ids;
  for (int i = 0; i < 100 * kMoreThanABlock; ++i) {
    EXPECT_TRUE(ids.insert(MessageId::create()).second);
  }
}

TEST(MessageId, UsesEveryRandomBit) {
  MessageId::Bytes any{};
  MessageId::Bytes all{};
  all.fill(0xff);
  for (int i = 0; i < kMoreThanABlock; ++i) {
    const MessageId id = MessageId::create();
    for (std::size_t byte = 0; byte < id.bytes().size(); ++byte) {
      any[byte] |= id.bytes()[byte];
      all[byte] &= id.bytes()[byte];
    }
  }
  const MessageId::Bytes fixed = {0, 0, 0, 0, 0, 0, 0xf0, 0, 0xc0};
  for (std::size_t byte = 0; byte < any.size(); ++byte) {
    EXPECT_EQ((any[byte] ^ all[byte]) | fixed[byte], 0xff) << "byte " << byte;
  }
}

TEST(MessageId, DiffersBetweenThreads) {
  constexpr int kThreads = 4;
  std::vector<std::vector<MessageId>> created(kThreads);
  std::vector<std::thread> threads;
  for (auto& ids : created) {
    threads.emplace_back([&ids] {
      for (int i = 0; i < kMoreThanABlock; ++i) {
        ids.push_back(MessageId::create());
      }
    });
  }
  std::for_each(threads.begin(), threads.end(), [](std::thread& thread) { thread.join(); });
  std::unordered_set<MessageId> distinct;
  for (const auto& ids : created) {
    distinct.insert(ids.begin(), ids.end());
  }
  EXPECT_EQ(distinct.size(), std::size_t{kThreads} * kMoreThanABlock);
}

// Creates as many ids as a block holds and writes them to the pipe; the last thing a forked child
// does.
[[noreturn]] void write_ids_and_exit(int pipe_fd) {
  std::vector<MessageId::Bytes> bytes;
  for (int i = 0; i < 256; ++i) {
    bytes.push_back(MessageId::create().bytes());
  }
  const auto size = static_cast<ssize_t>(bytes.size() * sizeof(bytes[0]));
  _exit(write(pipe_fd, bytes.data(), static_cast<std::size_t>(size)) == size ? 0 : 1);
}

TEST(MessageId, DiffersBetweenParentAndChildAfterFork) {
  (void)MessageId::create();  // The parent now holds a part-used block, which the child copies.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    write_ids_and_exit(ends[1]);
  }
  close(ends[1]);
  std::unordered_set<MessageId> ids;
  MessageId::Bytes bytes;
  while (read(ends[0], bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size())) {
    ids.insert(MessageId::from_bytes(bytes));
  }
  close(ends[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(ids.size(), 256U);
  for (int i = 0; i < 256; ++i) {
    EXPECT_FALSE(ids.contains(MessageId::create()));
  }
}

int no_random_bytes(unsigned char*, int) { return 0; }

// Makes OpenSSL fail, as it does when the system has no randomness, and creates ids until a new
// block is needed.
void create_without_randomness() {
  // Looked up by name: the library links OpenSSL for itself, and this test needs it for this one
  // call.
  void* const symbol = dlsym(RTLD_DEFAULT, "RAND_set_rand_method");
  if (symbol == nullptr) {
    return;  // The death test then reports that nothing died.
  }
  static RAND_METHOD failing{};
  failing.bytes = no_random_bytes;
  int (*set_method)(const RAND_METHOD*) = nullptr;
  std::memcpy(&set_method, &symbol, sizeof(symbol));
  set_method(&failing);
  for (int i = 0; i < kMoreThanABlock; ++i) {
    (void)MessageId::create();
  }
}

TEST(MessageIdDeathTest, EndsTheProcessByNameWhenThereIsNoRandomness) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(create_without_randomness(), "cannot create a message id: OpenSSL's RAND_bytes");
}

TEST(MessageId, WithoutAValueIsNil) {
  EXPECT_TRUE(MessageId().is_nil());
  EXPECT_EQ(MessageId().to_string(), "00000000-0000-0000-0000-000000000000");
  EXPECT_FALSE(MessageId::from_bytes(kBytes).is_nil());
}

TEST(MessageId, HasATextFormOf36Characters) {
  EXPECT_EQ(MessageId::from_bytes(kBytes).to_string(), kText);
  EXPECT_EQ(MessageId::from_bytes(kBytes).to_string().size(), MessageId::kTextLength);
}

TEST(MessageId, ParsesItsTextFormBack) {
  const MessageId id = MessageId::create();
  EXPECT_EQ(MessageId::parse(id.to_string()), id);
  EXPECT_EQ(MessageId::parse(kText), MessageId::from_bytes(kBytes));
}

TEST(MessageId, ParsesDigitsOfEitherCase) {
  EXPECT_EQ(MessageId::parse("00112233-4455-4677-8899-AABBCCDDEEFF"),
            MessageId::from_bytes(kBytes));
}

TEST(MessageId, RefusesMalformedText) {
  const std::string text = kText;
  std::vector<std::string> malformed = {"",
                                        "x",
                                        text.substr(1),
                                        text + "0",
                                        text + " ",
                                        " " + text,
                                        "{" + text + "}",
                                        "{" + text.substr(0, 34) + "}",
                                        "00112233445546778899aabbccddeeff",
                                        "00112233445546778899aabbccddeeff0000",
                                        "{00112233445546778899aabbccddeeff}  ",
                                        "001122334-455-4677-8899-aabbccddeeff",
                                        "00112233-4455-4677-8899aaabbccddeeff",
                                        "0011223344555-4677-8899-aabbccddeeff",
                                        std::string(36, '-'),
                                        std::string(36, '\0'),
                                        std::string(1'000'000, '0')};
  for (std::size_t place = 0; place < text.size(); ++place) {
    for (const char wrong : {'g', '-', '\0', ' ', '\xff', '0'}) {
      std::string changed = text;
      changed[place] = wrong;
      if ((wrong == '0') == (text[place] == '-') && changed != text) {
        malformed.push_back(changed);
      }
    }
  }
  for (const std::string& bad : malformed) {
    EXPECT_EQ(MessageId::parse(bad), std::nullopt) << bad.substr(0, 100);
  }
}

TEST(MessageId, KeepsIts16Bytes) {
  static_assert(sizeof(MessageId) == 16);
  EXPECT_EQ(MessageId::from_bytes(kBytes).bytes(), kBytes);
}

TEST(MessageId, IsAJsonString) {
  const MessageId id = MessageId::from_bytes(kBytes);
  EXPECT_EQ(id.to_json(), "\"00112233-4455-4677-8899-aabbccddeeff\"");
  EXPECT_EQ(MessageId::from_json(id.to_json()), id);
  EXPECT_EQ(MessageId::from_json(" " + id.to_json() + "\n"), id);
  EXPECT_EQ(MessageId::from_json("\"\\u00300112233-4455-4677-8899-aabbccddeeff\""), id);
}

TEST(MessageId, RefusesJsonThatIsNotAnId) {
  const std::string text = kText;
  for (const std::string& bad :
       {std::string(), text, "\"" + text, text + "\"", "[\"" + text + "\"]", "\"" + text + "\" 1",
        std::string("null"), std::string("7"), std::string("\"\""), "\"" + text + "0\"",
        std::string(100'000, '['), "\"" + text + "\"" + std::string(100'000, ' ')}) {
    EXPECT_EQ(MessageId::from_json(bad), std::nullopt) << bad.substr(0, 100);
  }
}

TEST(MessageId, IsOrderedAsItsTextForm) {
  MessageId::Bytes later = kBytes;
  later[15] = 0x00;
  later[0] = 0x01;
  EXPECT_LT(MessageId::from_bytes(kBytes), MessageId::from_bytes(later));
  EXPECT_LT(MessageId(), MessageId::from_bytes(kBytes));
  std::vector<MessageId> ids;
  for (int i = 0; i < 100; ++i) {
    ids.push_back(MessageId::create());
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end(), [](const MessageId& a, const MessageId& b) {
    return a.to_string() < b.to_string();
  }));
}

TEST(MessageId, HashesEqualIdsAlikeAndOthersApart) {
  const std::hash<MessageId> hash;
  EXPECT_EQ(hash(MessageId::from_bytes(kBytes)), hash(*MessageId::parse(kText)));
  std::unordered_set<std::size_t> hashes;
  for (int i = 0; i < kMoreThanABlock; ++i) {
    hashes.insert(hash(MessageId::create()));
  }
  EXPECT_EQ(hashes.size(), std::size_t{kMoreThanABlock});
}

}  // namespace
}  // namespace ackbus
