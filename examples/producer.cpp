// Sends one tracked message and prints what became of it. Usage: example_producer [TEXT]
#include <ackbus/producer.hpp>
#include <cstdio>
#include <span>
#include <string>

static int fail(const ackbus::Error& error) {
  std::fprintf(stderr, "example_producer: %s\n", error.text.c_str());
  return 1;
}

int main(int count, char** arguments) {
  const std::string text = count > 1 ? arguments[1] : "hello";
  ackbus::ProducerOptions options;
  options.queue = "example";
  auto producer = ackbus::Producer::connect(options);
  if (!producer) return fail(producer.error());

  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  const auto payload = std::as_bytes(std::span(text));
  auto ticket = producer->send(ackbus::Kind::kUpdateNodePositions, payload, deadline);
  if (!ticket) return fail(ticket.error());
  auto outcome = producer->wait(*ticket, deadline);
  if (!outcome) return fail(outcome.error());
  std::printf("%s %s\n", ticket->id.to_string().c_str(), ackbus::outcome_name(outcome->code));
  return outcome->is_success() ? 0 : 1;
}
