// R13: what is accepted as the log's topic, and what tells one topic from its successor.
#include "eventlog/kafka/topic_check.h"

#include <gtest/gtest.h>

#include "eventlog/kafka/topic_id.h"
#include "tests/services/services.h"

namespace parley::eventlog::kafka {
namespace {

using parley::test::services;

const std::map<std::string, std::string> kGood{{"message.timestamp.type", "LogAppendTime"},
                                               {"unclean.leader.election.enable", "false"},
                                               {"cleanup.policy", "delete"},
                                               {"retention.ms", "-1"},
                                               {"retention.bytes", "-1"},
                                               {"min.insync.replicas", "2"},
                                               {"max.message.bytes", "1048588"}};

std::string with(const std::string& name, const std::string& value, std::uint32_t replication_factor = 3) {
  auto settings = kGood;
  settings[name] = value;
  return wrong_settings(settings, replication_factor, 256 << 10);
}

TEST(TopicSettings, AreAcceptedAsTheDesignNeedsThem) { EXPECT_EQ(wrong_settings(kGood, 3, 256 << 10), ""); }

TEST(TopicSettings, EachWrongOneIsNamed) {
  for (const auto& [name, value] : std::map<std::string, std::string>{{"message.timestamp.type", "CreateTime"},
                                                                      {"unclean.leader.election.enable", "true"},
                                                                      {"cleanup.policy", "compact"},
                                                                      {"retention.ms", "604800000"},
                                                                      {"retention.bytes", "1000"},
                                                                      {"min.insync.replicas", "1"},
                                                                      {"max.message.bytes", "1000"}}) {
    EXPECT_NE(with(name, value).find(name), std::string::npos) << name;
    EXPECT_NE(with(name, value).find(value), std::string::npos) << name;
  }
  EXPECT_NE(with("min.insync.replicas", "3").find("min.insync.replicas"), std::string::npos);
  EXPECT_EQ(with("min.insync.replicas", "1", 1), "");
}

TEST(TopicId, AnswersCutShortAreRefused) {
  for (std::size_t length = 0; length < 64; ++length) EXPECT_FALSE(decode_metadata_response(std::string(length, '\x02'), "t"));
}

class RealTopic : public testing::Test {
 protected:
  RealTopic() {
    settings_.bootstrap = services().bootstrap;
    client_ = Conf(settings_).make(RD_KAFKA_PRODUCER);
  }
  Settings settings_;
  ClientHandle client_;
};

TEST_F(RealTopic, MissingIsMisconfigured) {
  settings_.topic = parley::test::fresh_name("missing");
  const auto topic = open_topic(client_.get(), settings_);
  ASSERT_FALSE(topic);
  EXPECT_EQ(topic.error().code, Errc::misconfigured);
  EXPECT_NE(topic.error().message.find(settings_.topic), std::string::npos);
}

TEST_F(RealTopic, IsMadeOnceAndThenFound) {
  settings_.topic = parley::test::fresh_name("made");
  settings_.create_topic = CreateTopic{.partitions = 3};
  const auto made = open_topic(client_.get(), settings_);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->partitions, 3u);
  EXPECT_EQ(made->id.size(), 32u);
  settings_.create_topic = CreateTopic{.partitions = 7};
  const auto found = open_topic(client_.get(), settings_);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->partitions, 3u);
  EXPECT_EQ(found->id, made->id);
}

TEST_F(RealTopic, AnotherTopicHasAnotherId) {
  const auto first = topic_id(services().bootstrap, parley::test::fresh_topic("id", 1), std::chrono::seconds(5));
  const auto second = topic_id("127.0.0.1:1, " + services().bootstrap, parley::test::fresh_topic("id", 1), std::chrono::seconds(5));
  ASSERT_TRUE(first) << first.error().message;
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_NE(*first, *second);
  const auto none = topic_id(services().bootstrap, parley::test::fresh_name("none"), std::chrono::seconds(5));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::unavailable);
}

}  // namespace
}  // namespace parley::eventlog::kafka
