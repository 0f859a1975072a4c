// Every ordering of the product, taken away on its own: some litmus test must fail without it. And
// every ordering that stands in the sources must be one that some litmus test executes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "tests/weak/litmus.hpp"
#include "tests/weak/sources.hpp"

namespace ackbus::weak {
namespace {

// An ordering by its edge, so that the list outlives edits around it.
struct Named {
  const char* file;
  const char* label;
  Operation operation;

  [[nodiscard]] bool is(const SourceOrdering& ordering) const {
    return ordering.site.file == file && ordering.label == label &&
           ordering.site.operation == operation;
  }
};

// An ordering that others make up for: without all of them some litmus test must fail. It is kept
// because it says by itself what its edge promises, and costs nothing on x86.
struct Redundant {
  Named one;
  std::vector<Named> others;
};

constexpr Named kRedeliveryCopied{"shm_layout/tracking_records.hpp", "E9",
                                  Operation::kFenceAcquire};
constexpr Named kPlaceCopied{"shm_layout/records.hpp", "E1", Operation::kFenceAcquire};
constexpr Named kDescriptorCopied{"shm_layout/records.hpp", "E2", Operation::kFenceAcquire};
const Redundant kRedundant[] = {
    // A copy of a redelivery place, or of its descriptor, that changed meanwhile is not taken, and
    // what was taken was read before the cursor moves.
    {{"libclient/src/consumer_link.cpp", "E13", Operation::kStoreRelease},
     {kRedeliveryCopied, kDescriptorCopied}},
    {{"daemon/tracker_stores.cpp", "E13", Operation::kLoadAcquire},
     {kRedeliveryCopied, kDescriptorCopied}},
    // The fence in the copy of the next place brings the wish, before that message is begun.
    {{"libclient/src/consumer_link.cpp", "E17", Operation::kLoadAcquire}, {kPlaceCopied}},
};

struct Measured {
  const Litmus* litmus;
  Exploration whole;
};

struct Verdict {
  std::string litmus;
  std::uint64_t executions = 0;
};

std::optional<Verdict> broken_by(const std::vector<Measured>& tests,
                                 const std::vector<OrderingSite>& weakened) {
  for (const Measured& test : tests) {
    const auto& sites = test.whole.sites;
    const bool concerned = std::all_of(weakened.begin(), weakened.end(), [&](const auto& site) {
      return std::find(sites.begin(), sites.end(), site) != sites.end();
    });
    if (concerned) {
      const Exploration result = explore(*test.litmus, weakened);
      if (result.failed) {
        return Verdict{test.litmus->name, result.executions + result.abandoned};
      }
    }
  }
  return std::nullopt;
}

// The site that the compiler reports for an ordering of the sources: a call that spans lines may be
// reported by one of its later lines.
std::optional<OrderingSite> executed_as(const SourceOrdering& ordering,
                                        const std::vector<OrderingSite>& executed) {
  std::optional<OrderingSite> found;
  for (const OrderingSite& site : executed) {
    const int later = site.line - ordering.site.line;
    const bool here = site.operation == ordering.site.operation && site.file == ordering.site.file;
    if (here && ((later >= 0 && later <= 2) || site.operation == Operation::kBarrier) && !found) {
      found = site;
    }
  }
  return found;
}

// The litmus tests, the smallest first, and the orderings that they execute.
struct Suite {
  std::vector<Litmus> litmus = all_litmus();
  std::vector<Measured> tests;
  std::vector<OrderingSite> executed;
  std::vector<SourceOrdering> sources = source_orderings();

  Suite() {
    for (const Litmus& one : litmus) {
      tests.push_back({&one, explore(one)});
      EXPECT_FALSE(tests.back().whole.failed) << one.name << ": " << tests.back().whole.what;
      for (const OrderingSite& site : tests.back().whole.sites) {
        if (std::find(executed.begin(), executed.end(), site) == executed.end()) {
          executed.push_back(site);
        }
      }
    }
    std::sort(executed.begin(), executed.end());
    std::stable_sort(tests.begin(), tests.end(), [](const Measured& a, const Measured& b) {
      return a.whole.executions + a.whole.abandoned < b.whole.executions + b.whole.abandoned;
    });
  }
  // The orderings that make up for this one, if it is in the list.
  [[nodiscard]] std::vector<SourceOrdering> partners(const SourceOrdering& ordering) const {
    std::vector<SourceOrdering> found;
    for (const Redundant& entry : kRedundant) {
      for (const Named& other : entry.others) {
        const auto source = std::find_if(sources.begin(), sources.end(),
                                         [&](const auto& one) { return other.is(one); });
        if (entry.one.is(ordering) && source != sources.end()) {
          found.push_back(*source);
        }
      }
    }
    return found;
  }
};

void print_row(const SourceOrdering& ordering, const std::vector<SourceOrdering>& partners,
               const std::optional<Verdict>& verdict) {
  std::string taken = operation_name(ordering.site.operation);
  for (const SourceOrdering& partner : partners) {
    taken +=
        std::string(", ") + operation_name(partner.site.operation) + " [" + partner.label + "]";
  }
  std::printf("| [%s] | %s:%d | %s | %s | %llu |\n", ordering.label.c_str(),
              ordering.site.file.c_str(), ordering.site.line, taken.c_str(),
              verdict ? verdict->litmus.c_str() : "-",
              static_cast<unsigned long long>(verdict ? verdict->executions : 0));
}

TEST(Mutants, EveryOrderingIsNeeded) {
  const Suite suite;
  std::printf("| edge | site | operation taken away | litmus test that fails | executions |\n");
  std::printf("|---|---|---|---|---:|\n");
  for (const SourceOrdering& ordering : suite.sources) {
    const std::string name = ordering.site.file + ":" + std::to_string(ordering.site.line) + " " +
                             operation_name(ordering.site.operation);
    const auto site = executed_as(ordering, suite.executed);
    EXPECT_TRUE(site) << name << " is executed by no litmus test";
    EXPECT_FALSE(ordering.label.empty()) << name << " names no edge";
    if (!site) {
      continue;
    }
    const std::vector<SourceOrdering> partners = suite.partners(ordering);
    auto verdict = broken_by(suite.tests, {*site});
    if (!partners.empty()) {
      EXPECT_FALSE(verdict) << name << " is needed by itself: off the list of redundant ones";
      std::vector<OrderingSite> taken{*site};
      for (const SourceOrdering& partner : partners) {
        const auto other = executed_as(partner, suite.executed);
        ASSERT_TRUE(other) << name;
        taken.push_back(*other);
      }
      verdict = broken_by(suite.tests, taken);
    }
    EXPECT_TRUE(verdict) << name << ": no litmus test fails without it";
    print_row(ordering, partners, verdict);
  }
}

}  // namespace
}  // namespace ackbus::weak
