#include "runtime/config.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>

namespace parley::runtime {
namespace {

struct Settings {
  std::uint32_t heartbeat_ms = 25'000;
  std::uint16_t port = 8080;
  bool tls = false;
  std::string log = "kafka";
  std::vector<std::string> routers = {"127.0.0.1:7070"};
  std::string jwt_secret;
};

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    config.number("gateway.heartbeat_ms", settings.heartbeat_ms, 1'000, 600'000, "Ping after that much silence.");
    config.number("gateway.port", settings.port, 0, 65'535, "Port for clients.");
    config.secret("auth.jwt_secret", settings.jwt_secret, "Signs access tokens.");
    config.flag("gateway.tls", settings.tls, "Speak TLS.");
    config.text("log.kind", settings.log, "Which log.", {"kafka", "postgres"});
    config.list("gateway.routers", settings.routers, "Where the routers are.");
  }
  ~ConfigTest() override {
    for (const auto& path : paths_) unlink(path.c_str());
  }

  std::string file(std::string_view content) {
    std::string path = "/tmp/parley-config-XXXXXX";
    int fd = mkstemp(path.data());
    EXPECT_GE(fd, 0);
    close(fd);
    std::ofstream(path) << content;
    paths_.push_back(path);
    return path;
  }

  // The problems of a read that must fail, as "path: message" lines.
  std::string problems(const std::vector<std::string>& arguments, const Config::Environment& environment = {}) {
    auto action = config.read(arguments, environment);
    std::string text;
    if (action) return "no problem";
    for (const auto& p : action.error()) text += p.path + ": " + p.message + "\n";
    return text;
  }

  Settings settings;
  Config config{"parley-test", "For tests."};

 private:
  std::vector<std::string> paths_;
};

TEST_F(ConfigTest, LaterSourcesWin) {
  auto path = file("gateway:\n  heartbeat_ms: 2000\n  port: 1\n  tls: true\n");
  Config::Environment environment = {{"PARLEY_GATEWAY_HEARTBEAT_MS", "3000"}, {"PARLEY_GATEWAY_PORT", "2"}};
  ASSERT_TRUE(config.read({"--config=" + path, "--gateway.heartbeat_ms=4000"}, environment));
  EXPECT_EQ(settings.heartbeat_ms, 4000u);
  EXPECT_EQ(settings.port, 2);
  EXPECT_TRUE(settings.tls);
  EXPECT_EQ(settings.log, "kafka");
}

TEST_F(ConfigTest, ListsComeAsSequenceOrWithCommas) {
  ASSERT_TRUE(config.read({"--config=" + file("gateway:\n  routers: [a:1, b:2]\n")}, {}));
  EXPECT_EQ(settings.routers, (std::vector<std::string>{"a:1", "b:2"}));
  ASSERT_TRUE(config.read({"--gateway.routers=c:3, d:4"}, {}));
  EXPECT_EQ(settings.routers, (std::vector<std::string>{"c:3", "d:4"}));
  ASSERT_TRUE(config.read({"--gateway.routers="}, {}));
  EXPECT_TRUE(settings.routers.empty());
}

TEST_F(ConfigTest, UnknownKeyIsRefusedWithItsPathAndTheNearestOne) {
  auto text = problems({"--config=" + file("gateway:\n  port: 1\n  heartbeat_msec: 2000\n")});
  EXPECT_NE(text.find("gateway.heartbeat_msec: no such setting"), std::string::npos) << text;
  EXPECT_NE(text.find("line 3"), std::string::npos) << text;
  EXPECT_NE(text.find("did you mean gateway.heartbeat_ms?"), std::string::npos) << text;
  EXPECT_EQ(settings.port, 8080) << "nothing is applied when anything is wrong";
}

TEST_F(ConfigTest, AllProblemsAreToldAtOnce) {
  auto action = config.read({"--config=" + file("gateway: {heartbeat_ms: 10, port: x, tls: yes}\nlog: {kind: memory}\n"), "--stray"}, {});
  ASSERT_FALSE(action);
  ASSERT_EQ(action.error().size(), 5u);
  EXPECT_EQ(action.error()[0].kind, Problem::Kind::unknown_key);
  EXPECT_EQ(action.error()[1].kind, Problem::Kind::out_of_bounds);
  EXPECT_EQ(action.error()[2].kind, Problem::Kind::bad_value);
  EXPECT_EQ(action.error()[3].kind, Problem::Kind::bad_value);
  EXPECT_EQ(action.error()[4].kind, Problem::Kind::bad_value);
}

TEST_F(ConfigTest, NumbersAreWholeAndInBounds) {
  for (const char* bad : {"", "-1", "1.5", "1e3", "0x10", "99999999999999999999", "2000 "})
    EXPECT_NE(problems({std::string("--gateway.heartbeat_ms=") + bad}), "no problem") << bad;
  EXPECT_EQ(problems({"--gateway.heartbeat_ms=1000"}), "no problem");
  EXPECT_EQ(problems({"--gateway.heartbeat_ms=600000"}), "no problem");
  EXPECT_NE(problems({"--gateway.heartbeat_ms=999"}), "no problem");
  EXPECT_NE(problems({"--gateway.heartbeat_ms=600001"}), "no problem");
  EXPECT_NE(problems({"--gateway.port=65536"}), "no problem");
}

TEST_F(ConfigTest, RepeatedKeysAreRefused) {
  EXPECT_NE(problems({"--config=" + file("gateway:\n  port: 1\n  port: 2\n")}).find("gateway.port: stands there twice"), std::string::npos);
  EXPECT_NE(problems({"--gateway.port=1", "--gateway.port=2"}).find("gateway.port"), std::string::npos);
}

TEST_F(ConfigTest, FilesThatAreNoSettingsAreRefused) {
  EXPECT_NE(problems({"--config=/nonexistent/parley.yaml"}).find("cannot be read"), std::string::npos);
  EXPECT_NE(problems({"--config=" + file("gateway: [")}), "no problem");
  EXPECT_NE(problems({"--config=" + file("- a\n- b\n")}), "no problem");
  EXPECT_NE(problems({"--config=" + file("gateway:\n  port: {a: 1}\n")}), "no problem");
  EXPECT_NE(problems({"--config=" + file("gateway:\n  port: [1]\n")}), "no problem");
  EXPECT_EQ(problems({"--config=" + file("")}), "no problem");
}

TEST_F(ConfigTest, SecretsComeFromFileOrEnvironmentAndAreNeverShown) {
  ASSERT_TRUE(config.read({"--auth.jwt_secret_file=" + file("hush hush\n")}, {}));
  EXPECT_EQ(settings.jwt_secret, "hush hush");
  EXPECT_EQ(config.yaml().find("hush"), std::string::npos);
  EXPECT_EQ(config.json().find("hush"), std::string::npos);
  EXPECT_NE(config.json().find("\"jwt_secret\":\"(redacted)\""), std::string::npos);
  EXPECT_NE(problems({"--auth.jwt_secret=in-the-open"}).find("may not stand in a flag"), std::string::npos);
  EXPECT_EQ(problems({"--auth.jwt_secret=in-the-open"}).find("in-the-open"), std::string::npos);
}

TEST_F(ConfigTest, OfASecretAndItsFileTheLaterSourceWins) {
  auto path = file("auth: {jwt_secret_file: " + file("from file\n") + "}\n");
  ASSERT_TRUE(config.read({"--config=" + path}, {{"PARLEY_AUTH_JWT_SECRET", "from environment"}}));
  EXPECT_EQ(settings.jwt_secret, "from environment");
  EXPECT_NE(problems({}, {{"PARLEY_AUTH_JWT_SECRET", "a"}, {"PARLEY_AUTH_JWT_SECRET_FILE", path}}).find("keep one"), std::string::npos);
  EXPECT_NE(problems({"--auth.jwt_secret_file=/nonexistent/secret"}).find("cannot be read"), std::string::npos);
}

TEST_F(ConfigTest, RequirementsSeeTheValuesRead) {
  config.require("auth.jwt_secret", [this]() -> std::optional<std::string> {
    if (settings.jwt_secret.size() < 32) return "must have at least 32 bytes";
    return std::nullopt;
  });
  EXPECT_NE(problems({}).find("auth.jwt_secret: must have at least 32 bytes"), std::string::npos);
  EXPECT_EQ(problems({}, {{"PARLEY_AUTH_JWT_SECRET", std::string(32, 'x')}}), "no problem");
}

TEST_F(ConfigTest, WhatIsPrintedReadsBackAsTheSame) {
  ASSERT_TRUE(config.read({"--gateway.routers=a:1,b:2", "--gateway.port=7", "--log.kind=postgres"}, {}));
  Settings again;
  Config other("parley-test", "");
  other.number("gateway.heartbeat_ms", again.heartbeat_ms, 0, 600'000, "");
  other.number("gateway.port", again.port, 0, 65'535, "");
  other.secret("auth.jwt_secret", again.jwt_secret, "");
  other.flag("gateway.tls", again.tls, "");
  other.text("log.kind", again.log, "");
  other.list("gateway.routers", again.routers, "");
  // An empty secret beside an empty secret file stands there twice, as it does for any reader.
  std::string text = config.yaml();
  text.erase(text.find("  jwt_secret_file"), text.find('\n', text.find("  jwt_secret_file")) + 1 - text.find("  jwt_secret_file"));
  auto action = other.read({"--config=" + file(text)}, {});
  ASSERT_TRUE(action) << action.error().front().path << action.error().front().message;
  EXPECT_EQ(again.routers, settings.routers);
  EXPECT_EQ(again.port, 7);
  EXPECT_EQ(again.log, "postgres");
}

TEST_F(ConfigTest, SectionsStayTogetherWhoeverDeclares) {
  EXPECT_EQ(
      config.json(),
      R"({"gateway":{"heartbeat_ms":25000,"port":8080,"tls":false,"routers":["127.0.0.1:7070"]},"auth":{"jwt_secret":"","jwt_secret_file":""},"log":{"kind":"kafka"}})");
}

TEST_F(ConfigTest, ActionsAreRecognised) {
  EXPECT_EQ(*config.read({}, {}), Config::Action::run);
  EXPECT_EQ(*config.read({"--help"}, {}), Config::Action::help);
  EXPECT_EQ(*config.read({"--print-config"}, {}), Config::Action::print);
  EXPECT_EQ(*config.read({"--check-config"}, {}), Config::Action::check);
  EXPECT_EQ(*config.read({"--version"}, {}), Config::Action::version);
  EXPECT_NE(config.help().find("PARLEY_GATEWAY_HEARTBEAT_MS"), std::string::npos);
}

TEST_F(ConfigTest, DeclaringTwiceIsABug) {
  std::uint32_t other = 0;
  EXPECT_THROW(config.number("gateway.port", other, 0, 1, ""), std::logic_error);
  EXPECT_THROW(config.number("gateway_port", other, 0, 1, ""), std::logic_error);  // the same environment variable
}

}  // namespace
}  // namespace parley::runtime
