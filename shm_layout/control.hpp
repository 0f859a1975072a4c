// Messages of the control socket (SOCK_SEQPACKET, one struct a packet, descriptors by SCM_RIGHTS).
// The socket carries set-up, lives and bells, never a message of the bus. Both ends check size,
// order and version of what they receive. FORMAT.md#control names the descriptors that travel with
// each message, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "shm_layout/limits.hpp"

namespace ackbus::layout {

inline constexpr std::uint32_t kControlMagic = 0x6b636163;  // "cack" in memory order
inline constexpr std::uint16_t kControlVersion = 1;
inline constexpr std::size_t kControlBytesMax = 65536;  // one packet, text included
inline constexpr std::size_t kControlDescriptorsMax = 5;
inline constexpr std::size_t kControlTextMax = 256;

enum class ControlType : std::uint16_t {
  kReserved = 0,
  // client to daemon
  kHello = 1,    // [pidfd of the sender]
  kMapped = 2,   // the writer of a segment has mapped it: the daemon may seal it
  kDrained = 3,  // producer: done with that life's ack segment
  kBell = 4,     // consumer: a mark waits in a record; only a bell
  kBye = 5,      // producer: the link ends when the last of it is final; consumer: its life ends,
                 // nothing is mapped
  kCreateSegment = 6,   // consumer: a state or frames segment of this size
  kPublishSegment = 7,  // consumer: the created segment is filled; it replaces the one before
  kOpenSegment = 8,     // anyone admitted: the published segment of a queue, read-only
  kQuery = 9,           // tools: JSON in, JSON out
  kAgain = 10,  // descriptors of kAddLink or kLife were lost on their way: send that life again
  // daemon to client
  kWelcome = 20,      // [bus segment, read-only]
  kRefused = 21,      // the daemon closes after it
  kLinkGranted = 22,  // [submission, writable][tracking, read-only]
  kLife = 23,         // to the producer: [ack, read-only][ring the consumer][be rung]
  kAddLink = 24,  // to the consumer: [submission, read-only][tracking, read-only][ack, writable][be
                  // rung][ring]
  kRemoveLink = 25,  // to the consumer
  kActivated = 26,   // to the consumer: it is the active one now: [predecessor's state, read-only]
                     // if there is one
  kStandby = 27,     // to the consumer: another one is active
  kWake = 28,        // look again
  kClosed = 29,      // to the producer: its link is closed, with the reason
  kSegment = 30,     // answer to kCreateSegment (writable) and kOpenSegment (read-only): [segment];
                     // to kPublishSegment without one
  kAnswer = 31,      // answer to kQuery: text
  kLifeTold = 32,    // to the consumer: the producer has its ends of the pipes that came last
};

struct ControlHeader {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t type;   // ControlType
  std::uint32_t bytes;  // of the whole packet
  std::uint32_t
      request;  // the client's number for it; answers repeat it, 0 for what nobody asked for
};
static_assert(sizeof(ControlHeader) == 16);

enum class ClientRole : std::uint32_t { kReserved = 0, kProducer = 1, kConsumer = 2, kTool = 3 };

struct HelloMessage {
  ControlHeader header;
  std::uint32_t layout_version;
  std::uint32_t role;  // ClientRole
  std::uint64_t fingerprint;
  char queue[kNameBytesMax];
  char client[kNameBytesMax];  // for logs and status
  std::uint32_t slots;         // producer: wished, 0 the bus's default; consumer: 1 would stand by
  std::uint32_t min_timeout_ms;  // producer: no message asks for less
  std::uint64_t arena_bytes;     // producer: wished, 0 the bus's default
  std::uint64_t link;            // re-attaching: the link's number and token; else 0
  std::uint64_t token[2];
  std::uint64_t
      first_sequence;  // producer: its first message's number, 1 unless it goes on from a lost link
};
static_assert(sizeof(HelloMessage) == 144);

// kMapped, kDrained, kBell, kBye, kAgain, kRemoveLink, kWake, kLifeTold: what they speak of.
struct LinkMessage {
  ControlHeader header;
  std::uint64_t link;
  std::uint64_t epoch;  // kMapped: 0 is the submission segment, else the ack segment of that life
};
static_assert(sizeof(LinkMessage) == 32);

// kCreateSegment, kPublishSegment, kOpenSegment, kSegment
struct SegmentMessage {
  ControlHeader header;
  std::uint32_t role;   // SegmentRole: state or frames
  std::uint32_t found;  // kSegment: 1 it is there or published, 0 there is none
  std::uint64_t bytes;
  std::uint64_t epoch;
  char queue[kNameBytesMax];
};
static_assert(sizeof(SegmentMessage) == 72);

struct WelcomeMessage {
  ControlHeader header;
  std::uint32_t layout_version;
  std::uint32_t reserved;
  std::uint64_t fingerprint;
  std::uint64_t bus_bytes;
  char bus[kNameBytesMax];
};
static_assert(sizeof(WelcomeMessage) == 72);

enum class RefusedCode : std::uint32_t {
  kReserved = 0,
  kProtocol = 1,    // wrong size, order or version of a control message
  kVersion = 2,     // another layout: both versions are in the text
  kPermission = 3,  // this uid or gid may not
  kQuota = 4,       // a limit of the bus, named in the text
  kMemory = 5,      // the segment could not be allocated
  kNoQueue = 6,
  kUnknownLink = 7,  // re-attach: no such link or token; connect anew
  kShutdown = 8,
};

struct TextMessage {  // kRefused, kClosed
  ControlHeader header;
  std::uint64_t link;
  std::uint32_t code;    // RefusedCode or VerdictReason
  std::uint32_t length;  // of the text
  char text[kControlTextMax];
};
static_assert(sizeof(TextMessage) == 288);

struct LinkGrantedMessage {
  ControlHeader header;
  std::uint64_t link;
  std::uint64_t token[2];
  std::uint64_t slots;
  std::uint64_t arena_bytes;
  std::uint64_t resumed;  // 1: the link that was asked for, with everything in it
};
static_assert(sizeof(LinkGrantedMessage) == 64);

struct LifeMessage {  // kLife and kAddLink
  ControlHeader header;
  std::uint64_t link;
  std::uint64_t epoch;
  std::uint64_t main_start;
  std::uint64_t redelivery_start;
  std::uint64_t slots;
  std::uint64_t arena_bytes;
  std::uint64_t peer_pid;  // for people only; a pid is never an identity
};
static_assert(sizeof(LifeMessage) == 72);

struct ActivatedMessage {  // kActivated and kStandby
  ControlHeader header;
  std::uint64_t epoch;
  std::uint64_t state_bytes;  // of the predecessor's state segment; 0 there is none
  std::uint64_t ahead;        // kStandby: consumers before this one
};
static_assert(sizeof(ActivatedMessage) == 40);

// kQuery and kAnswer: a text follows the struct, its length is header.bytes - sizeof.
struct QueryMessage {
  ControlHeader header;
  std::uint32_t code;  // answers: 0 done, else a documented exit status
  std::uint32_t more;  // answers: 1 another packet follows
};
static_assert(sizeof(QueryMessage) == 24);

template <typename Message>
constexpr ControlHeader control_header(ControlType type, std::uint32_t request = 0) {
  static_assert(std::is_trivially_copyable_v<Message>);
  return {kControlMagic, kControlVersion, static_cast<std::uint16_t>(type),
          static_cast<std::uint32_t>(sizeof(Message)), request};
}

}  // namespace ackbus::layout
