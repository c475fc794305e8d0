// REST against the real Core, over the memory log and store.
#include "gateway/http/rest.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include "gateway/core/test_bed.h"

namespace parley::gateway::http {
namespace {

using chat::TimeMs;
using client::Frame;

class RestTest : public TestBed {
 protected:
  void SetUp() override {
    start();
    make({});
  }
  void make(RestSettings rest_settings) {
    rest = std::make_unique<Rest>(rest_settings, Rest::Ports{clock, *reader, *accounts, jwt, passwords}, 1);
    rest->start(*core, reads, kPartitions);
  }

  struct Answer {
    Response http;
    simdjson::dom::element json;
    std::shared_ptr<simdjson::dom::parser> parser = std::make_shared<simdjson::dom::parser>();

    std::string at(const char* pointer) const {
      if (http.body.empty()) return {};
      std::string_view text;
      if (json.at_pointer(pointer).get(text) != simdjson::SUCCESS)
        return simdjson::to_string(json.at_pointer(pointer).error() ? json : json.at_pointer(pointer).value());
      return std::string(text);
    }
    bool has(const char* pointer) const { return json.at_pointer(pointer).error() == simdjson::SUCCESS; }
    std::string header(std::string_view name) const {
      for (auto& [key, value] : http.headers) {
        if (key == name) return value;
      }
      return {};
    }
  };
  Answer ask(std::string method, std::string target, std::string body = "", std::string token = "",
             std::vector<std::pair<std::string, std::string>> headers = {}) {
    Request request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.body = std::move(body);
    request.headers = std::move(headers);
    request.address = "192.0.2.1";
    if (!token.empty()) request.headers.emplace_back("Authorization", "Bearer " + token);
    std::optional<Response> got;
    rest->handle(std::move(request), [&](Response response) {
      EXPECT_FALSE(got) << "answered twice";
      got = std::move(response);
    });
    auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!got && std::chrono::steady_clock::now() < limit) {
      run();
      reads.on_tick();
      io.run_one_for(std::chrono::milliseconds(1));
      pass(50);
    }
    Answer answer;
    if (!got) {
      ADD_FAILURE() << "no answer";
      return answer;
    }
    answer.http = std::move(*got);
    if (answer.http.content_type.ends_with("json") && !answer.http.body.empty()) answer.json = answer.parser->parse(answer.http.body).value();
    return answer;
  }
  std::string token(std::uint8_t n) { return jwt.issue({user(n), login(n), {clock.wall().value + 900'000}}, clock.wall()); }
  void expect_problem(const Answer& answer, unsigned status, const std::string& code) {
    EXPECT_EQ(answer.http.status, status) << answer.http.body;
    EXPECT_EQ(answer.http.content_type, "application/problem+json");
    EXPECT_EQ(answer.at("/code"), code);
  }
  std::string new_group(std::uint8_t owner, std::vector<std::uint8_t> members) {
    std::string list;
    for (auto n : members) list += (list.empty() ? "\"" : ",\"") + text(user(n)) + "\"";
    return ask("POST", "/v1/conversations", R"({"kind":"group","title":"g","members":[)" + list + "]}", token(owner)).at("/id");
  }

  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{io.get_executor()};
  JwtTokens jwt{"0123456789abcdef0123456789abcdef"};
  Passwords passwords{io, {.threads = 1, .waiting = 4, .memory_kib = 64, .passes = 1}};
  BarrierReads reads{clock, log, *reader, kPartitions, 3'000};
  std::unique_ptr<Rest> rest;
};

const std::string kAnn = R"({"username":"Ann.B","password":"correct horse","displayName":"Ann"})";

TEST_F(RestTest, RegisterLoginRefreshLogout) {
  auto made = ask("POST", "/v1/auth/register", kAnn);
  ASSERT_EQ(made.http.status, 201u);
  EXPECT_EQ(made.at("/user/username"), "ann.b");
  EXPECT_EQ(made.at("/expiresInMs"), "900000");
  EXPECT_EQ(made.header("Cache-Control"), "no-store");
  expect_problem(ask("POST", "/v1/auth/register", kAnn), 409, "conflict");

  auto in = ask("POST", "/v1/auth/login", R"({"username":"ANN.b","password":"correct horse","deviceId":"web-1"})");
  ASSERT_EQ(in.http.status, 200u);
  EXPECT_EQ(in.at("/user/id"), made.at("/user/id"));
  EXPECT_EQ(ask("GET", "/v1/users/me", "", in.at("/accessToken")).at("/displayName"), "Ann");
  auto wrong = ask("POST", "/v1/auth/login", R"({"username":"ann.b","password":"wrong horse"})");
  auto unknown = ask("POST", "/v1/auth/login", R"({"username":"nobody","password":"wrong horse"})");
  expect_problem(wrong, 401, "unauthenticated");
  EXPECT_EQ(wrong.http.body, unknown.http.body);
  EXPECT_EQ(wrong.header("WWW-Authenticate"), "Bearer");

  auto second = ask("POST", "/v1/auth/refresh", R"({"refreshToken":")" + in.at("/refreshToken") + R"("})");
  ASSERT_EQ(second.http.status, 200u);
  EXPECT_NE(second.at("/refreshToken"), in.at("/refreshToken"));
  EXPECT_EQ(second.at("/user/username"), "ann.b");

  // The other login session is not touched by this one's end.
  ASSERT_EQ(ask("POST", "/v1/auth/logout", "", second.at("/accessToken")).http.status, 204u);
  expect_problem(ask("GET", "/v1/users/me", "", second.at("/accessToken")), 401, "unauthenticated");
  expect_problem(ask("POST", "/v1/auth/refresh", R"({"refreshToken":")" + second.at("/refreshToken") + R"("})"), 401, "unauthenticated");
  EXPECT_EQ(ask("GET", "/v1/users/me", "", made.at("/accessToken")).http.status, 200u);
  ASSERT_EQ(ask("POST", "/v1/auth/logout", R"({"all":true})", made.at("/accessToken")).http.status, 204u);
  expect_problem(ask("GET", "/v1/users/me", "", made.at("/accessToken")), 401, "unauthenticated");
}

TEST_F(RestTest, ReusedRefreshTokenEndsTheLogin) {  // D13
  auto in = ask("POST", "/v1/auth/register", kAnn);
  auto old = R"({"refreshToken":")" + in.at("/refreshToken") + R"("})";
  auto fresh = ask("POST", "/v1/auth/refresh", old);
  ASSERT_EQ(fresh.http.status, 200u);
  expect_problem(ask("POST", "/v1/auth/refresh", old), 401, "unauthenticated");
  expect_problem(ask("POST", "/v1/auth/refresh", R"({"refreshToken":")" + fresh.at("/refreshToken") + R"("})"), 401, "unauthenticated");
  clock.at += 1'100;  // what was remembered of the login has grown old
  expect_problem(ask("GET", "/v1/users/me", "", fresh.at("/accessToken")), 401, "unauthenticated");
}

TEST_F(RestTest, IdempotentRegistration) {
  std::vector<std::pair<std::string, std::string>> key{{"Idempotency-Key", "k1"}};
  auto first = ask("POST", "/v1/auth/register", kAnn, "", key);
  auto again = ask("POST", "/v1/auth/register", kAnn, "", key);
  ASSERT_EQ(again.http.status, 201u);
  EXPECT_EQ(again.at("/user/id"), first.at("/user/id"));
  expect_problem(ask("POST", "/v1/auth/register", kAnn, "", {{"Idempotency-Key", "k2"}}), 409, "conflict");
  expect_problem(ask("POST", "/v1/auth/register", R"({"username":"ann.b","password":"another one","displayName":"x"})", "", key), 409, "conflict");
}

TEST_F(RestTest, ValuesAreChecked) {
  for (auto body : {"", "{", "[]", "null", "\xff", R"({"username":"ab","password":"correct horse","displayName":"x"})",
                    R"({"username":"a b c","password":"correct horse","displayName":"x"})", R"({"username":5,"password":"correct horse","displayName":"x"})",
                    R"({"username":"abc","password":"1234567","displayName":"x"})", R"({"username":"abc","password":"correct horse"})",
                    R"({"username":"abc","password":"correct horse","displayName":"a\u0000b"})"}) {
    expect_problem(ask("POST", "/v1/auth/register", body), 400, "invalid");
  }
  // Characters are counted, not bytes.
  std::string name;
  for (int i = 0; i < 64; ++i) name += "\xf0\x9f\x98\x80";
  EXPECT_EQ(ask("POST", "/v1/auth/register", R"({"username":"abc","password":"correct horse","displayName":")" + name + R"("})").http.status, 201u);
  expect_problem(ask("POST", "/v1/auth/register", R"({"username":"abd","password":"correct horse","displayName":")" + name + R"(x"})"), 400, "invalid");
}

TEST_F(RestTest, NothingWithoutAToken) {
  auto good = token(1);
  for (auto route : Rest::routes()) {
    if (route.path.starts_with("/v1/auth/") && route.path != "/v1/auth/logout") continue;
    if (route.path == "/v1/openapi.json" || route.path == "/v1/proto") continue;
    for (auto& bad : std::vector<std::pair<std::string, std::string>>{
             {"X", "y"}, {"Authorization", "Bearer x"}, {"Authorization", good}, {"Authorization", "Basic " + good}, {"Authorization", "Bearer "}}) {
      expect_problem(ask(std::string(route.method), std::string(route.path) + "?access_token=" + good, "{}", "", {bad}), 401, "unauthenticated");
    }
  }
}

TEST_F(RestTest, RatesPerAddress) {
  make({.login_rate = {.per_minute = 1, .burst = 1}});
  expect_problem(ask("POST", "/v1/auth/login", R"({"username":"x","password":"wrong horse"})"), 401, "unauthenticated");
  auto limited = ask("POST", "/v1/auth/login", R"({"username":"x","password":"wrong horse"})");
  expect_problem(limited, 429, "rateLimited");
  EXPECT_GE(std::stoi(limited.header("Retry-After")), 50);
}

TEST_F(RestTest, WrongPasswordsPerUsername) {
  make({.failure_rate = {.per_minute = 1, .burst = 2}});
  ASSERT_EQ(ask("POST", "/v1/auth/register", kAnn).http.status, 201u);
  auto log_in = [this](const std::string& name, const std::string& password) {
    return ask("POST", "/v1/auth/login", R"({"username":")" + name + R"(","password":")" + password + R"("})");
  };
  for (int i = 0; i < 5; ++i) EXPECT_EQ(log_in("ann.b", "correct horse").http.status, 200u) << "right ones cost nothing";
  expect_problem(log_in("Ann.B", "wrong horse"), 401, "unauthenticated");
  expect_problem(log_in("ann.b", "wrong horse"), 401, "unauthenticated");
  auto limited = log_in("ANN.b", "correct horse");
  expect_problem(limited, 429, "rateLimited");
  EXPECT_GE(std::stoi(limited.header("Retry-After")), 50);
  for (int i = 0; i < 2; ++i) expect_problem(log_in("nobody", "wrong horse"), 401, "unauthenticated");
  expect_problem(log_in("nobody", "wrong horse"), 429, "rateLimited");
  pass(60'000);
  EXPECT_EQ(log_in("ann.b", "correct horse").http.status, 200u);
}

TEST_F(RestTest, Users) {
  EXPECT_EQ(ask("PATCH", "/v1/users/me", R"({"displayName":"Robert'); drop table users;--"})", token(1)).at("/displayName"), "Robert'); drop table users;--");
  EXPECT_EQ(ask("GET", "/v1/users/" + text(user(1)), "", token(2)).at("/displayName"), "Robert'); drop table users;--");
  expect_problem(ask("GET", "/v1/users/" + text(user(99)), "", token(2)), 404, "notFound");
  expect_problem(ask("GET", "/v1/users/nonsense", "", token(2)), 404, "notFound");
  EXPECT_EQ(ask("GET", "/v1/users?query=USER3", "", token(2)).at("/items/0/id"), text(user(3)));
  EXPECT_EQ(ask("GET", "/v1/users?query=%25", "", token(2)).http.body, R"({"items":[]})");
  expect_problem(ask("GET", "/v1/users", "", token(2)), 400, "invalid");
}

TEST_F(RestTest, Conversations) {
  auto id = new_group(1, {2});
  ASSERT_EQ(id.size(), 36u);
  auto got = ask("GET", "/v1/conversations/" + id, "", token(2));
  EXPECT_EQ(got.http.status, 200u) << got.http.body;
  EXPECT_EQ(got.at("/title") + got.at("/role") + got.at("/memberCount"), "gmember2");
  auto members = ask("GET", "/v1/conversations/" + id + "/members", "", token(2));
  EXPECT_EQ(members.http.status, 200u);
  EXPECT_EQ(members.json["items"].get_array().value().size(), 2u);
  auto patched = ask("PATCH", "/v1/conversations/" + id, R"({"title":"new","notice":"n"})", token(1));
  EXPECT_EQ(patched.at("/title") + patched.at("/notice"), "newn") << patched.http.body;
  EXPECT_EQ(ask("GET", "/v1/conversations?limit=10", "", token(1)).at("/items/0/conversation"), id);
  EXPECT_EQ(ask("POST", "/v1/conversations/" + id + "/members", R"({"users":[")" + text(user(3)) + R"("]})", token(1)).at("/seq"), "3");
  EXPECT_EQ(ask("PATCH", "/v1/conversations/" + id + "/members/" + text(user(3)), R"({"role":"admin"})", token(1)).at("/seq"), "4");
  EXPECT_EQ(ask("DELETE", "/v1/conversations/" + id + "/members/" + text(user(2)), "", token(1)).at("/seq"), "5");
  EXPECT_EQ(ask("DELETE", "/v1/conversations/" + id + "/members/me", "", token(3)).at("/seq"), "6");
  for (auto path : {"", "/members", "/messages"}) expect_problem(ask("GET", "/v1/conversations/" + id + path, "", token(4)), 404, "notFound");
  for (auto path : {"", "/members"}) expect_problem(ask("GET", "/v1/conversations/" + id + path, "", token(2)), 403, "notMember");
  EXPECT_EQ(ask("DELETE", "/v1/conversations/" + id, "", token(1)).at("/seq"), "7");
}

TEST_F(RestTest, ReadsOfTheStoreCountAsReads) {  // D21
  const std::string conversation = "/v1/conversations/" + new_group(1, {2});
  for (const std::string& path : {std::string("/v1/users/me"), std::string("/v1/users?query=a"), "/v1/users/" + text(user(2)), conversation,
                                  conversation + "/members", conversation + "/messages?aroundSeq=1"}) {
    pass(10'000);  // a full bucket
    int answered = 0, limited = 0;
    for (int i = 0; i < 250; ++i) {
      Request request;
      request.method = "GET";
      request.target = path;
      request.headers = {{"Authorization", "Bearer " + token(1)}};
      rest->handle(std::move(request), [&](const Response& response) {
        ++answered;
        limited += response.status == 429 ? 1 : 0;
      });
    }
    EXPECT_EQ(ask("GET", path, "", token(2)).http.status, 200u) << "another user: " << path;
    EXPECT_EQ(answered, 250) << path;
    EXPECT_EQ(limited, 50) << path;
  }
}

TEST_F(RestTest, MessagesAndMarks) {
  auto id = new_group(1, {2});
  auto path = "/v1/conversations/" + id;
  auto socket = connect(2);
  auto posted = ask("POST", path + "/messages", R"({"text":{"body":"one"}})", token(1));
  ASSERT_EQ(posted.http.status, 201u) << posted.http.body;
  EXPECT_EQ(posted.at("/seq") + posted.at("/number"), "21");
  EXPECT_EQ(of(socket).last(Frame::kEvent).event().sender_device(), "rest");
  for (int i = 3; i < 8; ++i) ask("POST", path + "/messages", R"({"text":{"body":"x"}})", token(1));
  auto seqs = [&](const std::string& query) {
    std::string out;
    auto page = ask("GET", path + "/messages" + query, "", token(2));
    for (auto event : page.json["events"].get_array()) out += std::string(event["seq"].get_string().value());
    return out + (page.has("/more") ? "+" : "");
  };
  EXPECT_EQ(seqs(""), "1234567");
  EXPECT_EQ(seqs("?limit=2"), "67+");
  EXPECT_EQ(seqs("?afterSeq=5"), "67");
  EXPECT_EQ(seqs("?beforeSeq=3"), "12");
  EXPECT_EQ(seqs("?aroundSeq=4&limit=3").substr(0, 3), "345");
  for (auto query : {"?limit=x", "?afterSeq=-1", "?beforeSeq=1e3", "?aroundSeq=2&afterSeq=1", "?limit=99999999999999999999"}) {
    expect_problem(ask("GET", path + "/messages" + query, "", token(2)), 400, "invalid");
  }
  auto read = ask("POST", path + "/read", R"({"seq":"3"})", token(2));
  EXPECT_EQ(read.at("/readSeq") + read.at("/readNumber"), "32");
  expect_problem(ask("POST", path + "/messages", R"({"text":{"body":""}})", token(1)), 400, "invalid");
  expect_problem(ask("POST", path + "/messages", R"({"text":{"body":"x"}})", token(4)), 404, "notFound");
}

TEST_F(RestTest, IdempotencyKeyMakesARepeatTheSame) {
  std::vector<std::pair<std::string, std::string>> key{{"Idempotency-Key", "one"}};
  auto create = R"({"kind":"group","title":"g","members":[")" + text(user(2)) + R"("]})";
  auto first = ask("POST", "/v1/conversations", create, token(1), key), again = ask("POST", "/v1/conversations", create, token(1), key);
  EXPECT_EQ(again.http.status, 201u);
  EXPECT_EQ(first.at("/id"), again.at("/id"));
  EXPECT_NE(ask("POST", "/v1/conversations", create, token(1), {{"Idempotency-Key", "two"}}).at("/id"), first.at("/id"));

  auto path = "/v1/conversations/" + first.at("/id") + "/messages";
  auto sent = ask("POST", path, R"({"text":{"body":"a"}})", token(1), key), repeat = ask("POST", path, R"({"text":{"body":"a"}})", token(1), key);
  EXPECT_EQ(sent.at("/seq"), repeat.at("/seq"));
  EXPECT_EQ(repeat.at("/duplicate"), "true");
  expect_problem(ask("POST", path, R"({"text":{"body":"b"}})", token(1), key), 409, "conflict");
  // Another user's key of the same name is another key.
  EXPECT_NE(ask("POST", path, R"({"text":{"body":"a"}})", token(2), key).at("/seq"), sent.at("/seq"));
}

TEST_F(RestTest, StoreAwayIsUnavailable) {
  auto id = new_group(1, {2});
  store.set_away(true);
  auto away = ask("GET", "/v1/conversations/" + id, "", token(1));
  expect_problem(away, 503, "unavailable");
  EXPECT_EQ(away.header("Retry-After"), "1");
  clock.at += 2'000;
  expect_problem(ask("GET", "/v1/users/me", "", token(1)), 503, "unavailable");
}

TEST_F(RestTest, PathsAndMethods) {
  for (auto path : {"/", "/v1", "/v1/", "/v1/nothing", "/v1/users/", "/v1/users/a/b", "//v1/users/me", "/v1/../etc/passwd", "/v1/users/me/", "/v1/users/%zz"}) {
    expect_problem(ask("GET", path, "", token(1)), 404, "notFound");
  }
  auto wrong = ask("PUT", "/v1/conversations", "", token(1));
  EXPECT_EQ(wrong.http.status, 405u);
  EXPECT_EQ(wrong.header("Allow"), "GET, POST");
}

TEST_F(RestTest, CorsIsAnExactList) {
  make({.allowed_origins = {"https://app.example"}});
  auto preflight = ask("OPTIONS", "/v1/users/me", "", "", {{"Origin", "https://app.example"}, {"Access-Control-Request-Method", "PATCH"}});
  EXPECT_EQ(preflight.http.status, 204u);
  EXPECT_EQ(preflight.header("Access-Control-Allow-Origin"), "https://app.example");
  EXPECT_EQ(preflight.header("Access-Control-Allow-Headers"), "Authorization, Content-Type, Idempotency-Key");
  auto plain = ask("GET", "/v1/users/me", "", token(1), {{"Origin", "https://app.example"}});
  EXPECT_EQ(plain.header("Access-Control-Allow-Origin"), "https://app.example");
  for (auto origin : {"https://app.example.evil.com", "https://APP.example", "http://app.example", "null", "*"}) {
    auto other = ask("GET", "/v1/users/me", "", token(1), {{"Origin", origin}});
    EXPECT_EQ(other.header("Access-Control-Allow-Origin"), "") << origin;
    EXPECT_EQ(other.header("Vary"), "Origin");
  }
}

TEST_F(RestTest, TheDocumentDescribesExactlyWhatExists) {
  auto document = ask("GET", "/v1/openapi.json");
  ASSERT_EQ(document.http.status, 200u);
  std::vector<std::string> described, existing;
  for (auto path : document.json["paths"].get_object()) {
    for (auto field : path.value.get_object()) {
      if (field.key == "parameters") continue;
      std::string method(field.key);
      for (char& c : method) c = static_cast<char>(c - 32);
      described.push_back(method + " " + std::string(path.key));
    }
  }
  for (auto route : Rest::routes()) existing.push_back(std::string(route.method) + " " + std::string(route.path));
  std::ranges::sort(described);
  std::ranges::sort(existing);
  EXPECT_EQ(described, existing);
}

TEST_F(RestTest, ProtoIsADescriptorSet) {  // D45
  auto proto = ask("GET", "/v1/proto");
  EXPECT_EQ(proto.http.content_type, "application/protobuf");
  EXPECT_NE(proto.http.body.find("CreateConversation"), std::string::npos);
}

TEST(RestSchema, AConversationBeginsAsItsSummary) {
  auto* summary = client::Summary::descriptor();
  auto* conversation = rest::v1::Conversation::descriptor();
  for (int i = 0; i < summary->field_count(); ++i) {
    auto* same = conversation->FindFieldByNumber(summary->field(i)->number());
    ASSERT_NE(same, nullptr);
    EXPECT_EQ(same->name(), summary->field(i)->name());
    EXPECT_EQ(same->type(), summary->field(i)->type());
  }
}

}  // namespace
}  // namespace parley::gateway::http
