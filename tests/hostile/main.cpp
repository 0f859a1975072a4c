// ackbus-hostile-peer: one attack of attacks.hpp as a program, until it is killed. `ackbus bench
// hostile` starts it to measure what others lose by it; it is never installed.
//
// Usage: ackbus-hostile-peer --list | ATTACK SOCKET QUEUE SEED. --list prints a line for each
// attack: its name, its side and what it does. Threads: those of the attack.
#include <cstdio>
#include <cstdlib>

#include "tests/hostile/attacks.hpp"

namespace {

constexpr const char* kSides[] = {"", "producer", "consumer", "control"};

}  // namespace

int main(int count, char** words) {
  using namespace ackbus::hostile;
  if (count == 2 && std::string_view(words[1]) == "--list") {
    for (const Attack& attack : all_attacks()) {
      std::printf("%s %s %s\n", std::string(attack.name).c_str(),
                  kSides[static_cast<std::size_t>(attack.side)], std::string(attack.what).c_str());
    }
    return 0;
  }
  const Attack* attack = count == 5 ? find_attack(words[1]) : nullptr;
  if (attack == nullptr) {
    std::fprintf(stderr, "usage: ackbus-hostile-peer --list | ATTACK SOCKET QUEUE SEED\n");
    return 2;
  }
  Tally* tally = shared_tally();
  Ground ground{words[2], words[3], *tally, std::mt19937_64(std::strtoull(words[4], nullptr, 10))};
  attack->run(ground);
  return 0;
}
