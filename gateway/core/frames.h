// Frames the core makes: from stored rows and link messages to what clients read. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "chat/codes.h"
#include "chat/ids.h"
#include "parley/client/v1/client.pb.h"
#include "parley/link/v1/link.pb.h"
#include "store/store.h"

namespace parley::gateway {

namespace client = parley::client::v1;
namespace link = parley::link::v1;

struct Refusal {
  std::uint32_t req_id = 0;
  std::string client_msg_id{}, op_id{};
  chat::Code code;
  std::string message{};
  bool temporary = false;
  std::uint32_t retry_after_ms = 0;
  std::uint32_t turn = 0;
};
client::Frame nack_frame(Refusal refusal);
client::Frame error_frame(chat::Close close, std::string_view message);

// What a request with a reqId is answered with.
bool is_answer(const client::Frame& frame);

// Header fields and body in one (a body is a serialised Event that holds nothing else).
client::Event event_of(const link::Delivery& delivery);
// `now`: what has expired by then has no content any more (D23).
client::Event event_of(const store::StoredEvent& stored, chat::TimeMs now);
client::Marker marker_of(const store::Marks& marks);
client::Summary summary_of(const store::Summary& summary, chat::TimeMs now);

// At most so many bytes of a text, without a part of a character.
std::string_view beginning(std::string_view utf8, std::size_t bytes);
// D7: cuts a text to 256 bytes.
void truncate_text(client::Message& message);

}  // namespace parley::gateway
