#include "chat/codes.h"

namespace parley::chat {

std::string_view name(Code code) {
  switch (code) {
    case Code::ok:
      return "ok";
    case Code::invalid:
      return "invalid";
    case Code::unauthenticated:
      return "unauthenticated";
    case Code::forbidden:
      return "forbidden";
    case Code::not_member:
      return "notMember";
    case Code::muted:
      return "muted";
    case Code::blocked:
      return "blocked";
    case Code::not_found:
      return "notFound";
    case Code::conflict:
      return "conflict";
    case Code::too_large:
      return "tooLarge";
    case Code::rate_limited:
      return "rateLimited";
    case Code::out_of_turn:
      return "outOfTurn";
    case Code::recall_expired:
      return "recallExpired";
    case Code::group_full:
      return "groupFull";
    case Code::unavailable:
      return "unavailable";
    case Code::unsupported:
      return "unsupported";
    case Code::internal:
    case Code::stale:
      return "internal";
  }
  return "internal";
}

int http_status(Code code) {
  switch (code) {
    case Code::ok:
      return 200;
    case Code::invalid:
    case Code::unsupported:
      return 400;
    case Code::unauthenticated:
      return 401;
    case Code::forbidden:
    case Code::not_member:
    case Code::muted:
    case Code::blocked:
    case Code::recall_expired:
      return 403;
    case Code::not_found:
      return 404;
    case Code::conflict:
    case Code::group_full:
      return 409;
    case Code::too_large:
      return 413;
    case Code::rate_limited:
      return 429;
    case Code::unavailable:
    case Code::out_of_turn:
      return 503;
    case Code::internal:
    case Code::stale:
      return 500;
  }
  return 500;
}

std::string_view name(Close close) {
  switch (close) {
    case Close::unknown:
      return "unknown";
    case Close::goaway_deadline:
      return "goawayDeadline";
    case Close::slow_consumer:
      return "slowConsumer";
    case Close::heartbeat_timeout:
      return "heartbeatTimeout";
    case Close::overloaded:
      return "overloaded";
    case Close::resync_required:
      return "resyncRequired";
    case Close::rate_limited:
      return "rateLimited";
    case Close::token_expired:
      return "tokenExpired";
    case Close::bad_frame:
      return "badFrame";
    case Close::auth_failed:
      return "authFailed";
    case Close::auth_revoked:
      return "authRevoked";
    case Close::banned:
      return "banned";
    case Close::version_unsupported:
      return "versionUnsupported";
    case Close::frame_too_large:
      return "frameTooLarge";
    case Close::superseded:
      return "superseded";
    case Close::logged_out:
      return "loggedOut";
    case Close::hello_timeout:
      return "helloTimeout";
  }
  return "unknown";
}

Code error_code(Close close) {
  switch (close) {
    case Close::bad_frame:
    case Close::hello_timeout:
      return Code::invalid;
    case Close::auth_failed:
    case Close::auth_revoked:
    case Close::logged_out:
    case Close::token_expired:
      return Code::unauthenticated;
    case Close::banned:
      return Code::forbidden;
    case Close::version_unsupported:
      return Code::unsupported;
    case Close::frame_too_large:
      return Code::too_large;
    case Close::superseded:
      return Code::conflict;
    case Close::rate_limited:
      return Code::rate_limited;
    default:
      return Code::unavailable;
  }
}

std::string_view reconnect(Close close) {
  if (static_cast<std::uint16_t>(close) >= 4500) return "never";
  switch (close) {
    case Close::goaway_deadline:
    case Close::slow_consumer:
    case Close::resync_required:
    case Close::token_expired:
      return "now";
    default:
      return "backoff";
  }
}

}  // namespace parley::chat
