#include <gtest/gtest.h>

#include "gateway/http/handshake.h"
#include "gateway/http/message.h"
#include "gateway/http/parser.h"
#include "gateway/http/problem.h"

namespace parley::gateway::http {
namespace {

Request upgrade() {
  Request request;
  request.method = "GET";
  request.target = "/v1/ws";
  request.headers = {{"Host", "chat.example:8080"},
                     {"Upgrade", "websocket"},
                     {"Connection", "keep-alive, Upgrade"},
                     {"Sec-WebSocket-Version", "13"},
                     {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                     {"Sec-WebSocket-Protocol", "other, parley.v1.json"}};
  return request;
}

unsigned status_with(std::string_view name, std::string value) {
  auto request = upgrade();
  std::erase_if(request.headers, [&](auto& header) { return header.first == name; });
  if (!value.empty()) request.headers.emplace_back(std::string(name), value);
  return handshake(request, {"https://app.example"}).response.status;
}

TEST(Handshake, Accepts) {
  auto answer = handshake(upgrade(), {});
  ASSERT_EQ(answer.response.status, 101u);
  EXPECT_EQ(answer.encoding, Encoding::json);
  auto text = serialise(answer.response, true, false);
  EXPECT_EQ(text,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "Sec-WebSocket-Protocol: parley.v1.json\r\n\r\n");
}

TEST(Handshake, RefusesWithTheRightStatus) {
  EXPECT_EQ(status_with("Upgrade", ""), 426u);
  EXPECT_EQ(status_with("Upgrade", "h2c"), 426u);
  EXPECT_EQ(status_with("Connection", "close"), 426u);
  EXPECT_EQ(status_with("Sec-WebSocket-Version", "8"), 426u);
  EXPECT_EQ(status_with("Sec-WebSocket-Key", ""), 400u);
  EXPECT_EQ(status_with("Sec-WebSocket-Key", "short=="), 400u);
  EXPECT_EQ(status_with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j!!=="), 400u);
  EXPECT_EQ(status_with("Sec-WebSocket-Protocol", ""), 400u);
  EXPECT_EQ(status_with("Sec-WebSocket-Protocol", "chat"), 400u);
  EXPECT_EQ(status_with("Origin", "https://evil.example"), 403u);
  EXPECT_EQ(status_with("Origin", "https://app.example"), 101u);
  auto post = upgrade();
  post.method = "POST";
  EXPECT_EQ(handshake(post, {}).response.status, 405u);
}

TEST(Handshake, OriginIsComparedExactly) {  // D11
  const std::vector<std::string> list{"https://app.example", "capacitor://localhost"};
  EXPECT_TRUE(origin_allowed("", "h", list));
  EXPECT_TRUE(origin_allowed("http://chat.example:8080", "chat.example:8080", list));
  EXPECT_TRUE(origin_allowed("https://chat.example", "chat.example", list));
  EXPECT_TRUE(origin_allowed("https://Chat.Example", "chat.example:443", list));
  EXPECT_TRUE(origin_allowed("capacitor://localhost", "chat.example", list));
  EXPECT_FALSE(origin_allowed("null", "null", list));
  EXPECT_FALSE(origin_allowed("https://chat.example:8443", "chat.example", list));
  EXPECT_FALSE(origin_allowed("http://chat.example", "chat.example:443", list));
  EXPECT_FALSE(origin_allowed("https://app.example.evil.com", "chat.example", list));
  EXPECT_FALSE(origin_allowed("https://app.example:443", "chat.example", list));
  EXPECT_FALSE(origin_allowed("https://evil-chat.example", "chat.example", list));
  EXPECT_FALSE(origin_allowed("file://", "", list));
  EXPECT_FALSE(origin_allowed("https://", "", list));
  EXPECT_FALSE(origin_allowed("ftp://chat.example", "chat.example", list));
}

TEST(Parser, RequestsInAnyPieces) {
  const std::string bytes =
      "POST /v1/x?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello"
      "GET / HTTP/1.0\r\n\r\n"
      "PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
    Parser parser(100);
    std::string unread;
    std::vector<Request> requests;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
      unread += bytes.substr(at, piece);
      for (;;) {
        std::string_view view = unread;
        auto request = parser.put(view);
        ASSERT_TRUE(request);
        unread.erase(0, unread.size() - view.size());
        if (!*request) break;
        requests.push_back(std::move(**request));
      }
    }
    ASSERT_EQ(requests.size(), 3u) << piece;
    EXPECT_EQ(requests[0].path(), "/v1/x");
    EXPECT_EQ(requests[0].query(), "a=b");
    EXPECT_EQ(requests[0].body, "hello");
    EXPECT_EQ(requests[0].header("x-a"), "1, 2");
    EXPECT_TRUE(requests[0].keep_alive);
    EXPECT_FALSE(requests[1].keep_alive);
    EXPECT_EQ(requests[2].body, "abcde");
  }
}

TEST(Parser, Refuses) {
  auto refused = [](std::string bytes) {
    Parser parser(10);
    std::string_view view = bytes;
    auto request = parser.put(view);
    return request ? 0u : request.error().status;
  };
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n"), 413u);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n"), 413u);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nX: " + std::string(9000, 'x') + "\r\n\r\n"), 431u);
  EXPECT_EQ(refused("nonsense\r\n\r\n"), 400u);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 400u);
  EXPECT_EQ(refused("POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400u);  // smuggling
}

TEST(Message, PercentAndQuery) {
  std::string out;
  EXPECT_TRUE(query_value("a=1&q=x%20y+z%C3%A9&b", "q", out));
  EXPECT_EQ(out, "x y z\xc3\xa9");
  EXPECT_TRUE(query_value("a=1&b", "b", out));
  EXPECT_EQ(out, "");
  EXPECT_FALSE(query_value("a=1&b", "c", out));
  EXPECT_FALSE(query_value("q=%2", "q", out));
  EXPECT_FALSE(query_value("q=%zz", "q", out));
}

TEST(Problem, CarriesWhatTheStatusAsksFor) {  // D48, RFC 9457
  auto unauthenticated = problem(chat::Code::unauthenticated, "no");
  EXPECT_EQ(unauthenticated.status, 401u);
  EXPECT_EQ(unauthenticated.headers.at(0), (std::pair<std::string, std::string>{"WWW-Authenticate", "Bearer"}));
  EXPECT_EQ(unauthenticated.body, R"({"type":"about:blank","title":"Unauthorized","status":401,"detail":"no","code":"unauthenticated"})");
  EXPECT_EQ(problem(chat::Code::rate_limited, "", 1500).headers.at(0).second, "2");
  EXPECT_EQ(problem(chat::Code::unavailable, "").headers.at(0).second, "1");
  EXPECT_EQ(problem(chat::Code::not_member, "").status, 403u);
  EXPECT_EQ(problem(chat::Code::group_full, "").status, 409u);
}

}  // namespace
}  // namespace parley::gateway::http
