#include "gateway/http/parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

namespace parley::gateway::http {

namespace beast = boost::beast;

class Parser::State {
 public:
  explicit State(std::size_t max_body) {
    parser.header_limit(8 * 1024);
    parser.body_limit(max_body);
    parser.eager(true);
  }
  beast::http::request_parser<beast::http::string_body> parser;
  bool continue_told = false;
};

Parser::Parser(std::size_t max_body) : max_body_(max_body) { reset(); }
Parser::~Parser() = default;

void Parser::reset() { state_ = std::make_unique<State>(max_body_); }

std::expected<std::optional<Request>, Parser::Refused> Parser::put(std::string_view& bytes) {
  auto& parser = state_->parser;
  while (!parser.is_done()) {
    if (bytes.empty()) return std::nullopt;
    beast::error_code ec;
    auto used = parser.put(boost::asio::buffer(bytes.data(), bytes.size()), ec);
    bytes.remove_prefix(used);
    if (ec == beast::http::error::need_more) return std::nullopt;
    if (ec == beast::http::error::body_limit) return std::unexpected(Refused{413});
    if (ec == beast::http::error::header_limit) return std::unexpected(Refused{431});
    if (ec) return std::unexpected(Refused{400});
  }
  auto message = parser.release();
  Request request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.keep_alive = message.keep_alive();
  for (auto& field : message) request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  request.body = std::move(message.body());
  reset();
  return request;
}

bool Parser::wants_continue() {
  if (state_->continue_told || !state_->parser.is_header_done() || state_->parser.is_done()) return false;
  if (!beast::iequals(state_->parser.get()[beast::http::field::expect], "100-continue")) return false;
  return state_->continue_told = true;
}

}  // namespace parley::gateway::http
