// Takes messages from the queue "example", prints and acknowledges each.
// Usage: example_consumer [SECONDS]
#include <ackbus/consumer.hpp>
#include <cstdio>
#include <cstdlib>

static int fail(const ackbus::Error& error) {
  std::fprintf(stderr, "example_consumer: %s\n", error.text.c_str());
  return 1;
}

int main(int count, char** arguments) {
  ackbus::ConsumerOptions options;
  options.queue = "example";
  auto consumer = ackbus::Consumer::connect(options);
  if (!consumer) return fail(consumer.error());

  const std::chrono::seconds lifetime(count > 1 ? std::strtol(arguments[1], nullptr, 10) : 3600);
  const auto deadline = std::chrono::steady_clock::now() + lifetime;
  for (;;) {
    auto message = consumer->take(deadline);
    if (!message) return fail(message.error());
    if (!message->has_value()) return 0;  // the deadline passed
    const ackbus::Delivery& delivery = **message;
    std::fwrite(delivery.payload.data(), 1, delivery.payload.size(), stdout);
    std::putchar('\n');
    std::fflush(stdout);
    if (auto acked = consumer->ack(delivery); !acked) return fail(acked.error());
  }
}
