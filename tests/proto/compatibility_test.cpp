// Field numbers are for ever: what a number meant once it means in every later version, in all three schemas.
//
// proto/baseline/ holds one line per field that was ever published. A field whose line is gone or changed fails; so does a new one,
// until its line is there too: run with PARLEY_WRITE_BASELINE=1, which adds lines and never changes or removes one. A field that is
// taken out of a schema keeps its line, marked `reserved`, and its number must be reserved in the schema.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "parley/client/v1/client.pb.h"
#include "parley/link/v1/link.pb.h"
#include "parley/log/v1/record.pb.h"

namespace parley {
namespace {

namespace pb = google::protobuf;

// "message number" -> "name type label", e.g. "parley.client.v1.Frame 14" -> "send parley.client.v1.Send singular oneof body".
using Lines = std::map<std::string, std::string>;

std::string key(const pb::Descriptor& message, int number) {
  // Three digits, so that the file reads in field order.
  std::string digits = std::to_string(number);
  if (digits.size() < 3) digits.insert(0, 3 - digits.size(), '0');
  return message.full_name() + ' ' + digits;
}

std::string meaning(const pb::FieldDescriptor& field) {
  std::string text = field.name() + ' ';
  text += field.message_type() != nullptr ? field.message_type()->full_name() : field.type_name();
  text += field.is_repeated() ? " repeated" : field.has_optional_keyword() ? " optional" : " singular";
  if (field.real_containing_oneof() != nullptr) text += " oneof " + field.real_containing_oneof()->name();
  return text;
}

void collect(const pb::Descriptor& message, Lines& lines) {
  for (int i = 0; i < message.field_count(); ++i) lines[key(message, message.field(i)->number())] = meaning(*message.field(i));
  for (int i = 0; i < message.nested_type_count(); ++i) collect(*message.nested_type(i), lines);
}

Lines read(const std::string& path) {
  Lines lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto equals = line.find(" = ");
    if (equals != std::string::npos) lines[line.substr(0, equals)] = line.substr(equals + 3);
  }
  return lines;
}

bool reserved(const pb::FileDescriptor& file, const std::string& line_key) {
  const auto space = line_key.rfind(' ');
  const pb::Descriptor* message = file.pool()->FindMessageTypeByName(line_key.substr(0, space));
  return message == nullptr || message->IsReservedNumber(std::stoi(line_key.substr(space + 1)));
}

// What is wrong with the schema, seen from what was published.
std::vector<std::string> faults(const pb::FileDescriptor& file, const Lines& published, const Lines& now) {
  std::vector<std::string> found;
  for (const auto& [where, was] : published) {
    const auto is = now.find(where);
    if (was == "reserved") {
      if (is != now.end())
        found.push_back(where + " is used again: " + is->second);
      else if (!reserved(file, where))
        found.push_back(where + " is not reserved in the schema");
    } else if (is == now.end()) {
      found.push_back(where + " is gone: " + was);
    } else if (is->second != was) {
      found.push_back(where + " was " + was + ", is " + is->second);
    }
  }
  for (const auto& [where, is] : now) {
    if (!published.contains(where)) found.push_back(where + " is not in the baseline: " + is);
  }
  return found;
}

class Schema : public ::testing::TestWithParam<std::pair<const char*, const pb::FileDescriptor*>> {};

TEST_P(Schema, KeepsEveryNumber) {
  const auto& [name, file] = GetParam();
  const std::string path = std::string(PARLEY_SOURCE_DIR) + "/proto/baseline/" + name + ".txt";
  Lines published = read(path), now;
  for (int i = 0; i < file->message_type_count(); ++i) collect(*file->message_type(i), now);
  ASSERT_FALSE(now.empty());
  if (std::getenv("PARLEY_WRITE_BASELINE") != nullptr) {
    published.insert(now.begin(), now.end());
    std::ofstream out(path);
    for (const auto& [where, is] : published) out << where << " = " << is << '\n';
  }
  for (const std::string& fault : faults(*file, published, now)) ADD_FAILURE() << fault;
}

INSTANTIATE_TEST_SUITE_P(All, Schema,
                         ::testing::Values(std::pair{"client", client::v1::Frame::descriptor()->file()},
                                           std::pair{"log", log::v1::Record::descriptor()->file()}, std::pair{"link", link::v1::Up::descriptor()->file()}),
                         [](const auto& info) { return std::string(info.param.first); });

TEST(Faults, EachIsSeen) {
  const pb::FileDescriptor& file = *log::v1::Record::descriptor()->file();
  const Lines published{{"parley.log.v1.Leave 001", "a bytes singular"}};
  EXPECT_EQ(faults(file, published, published).size(), 0u);
  EXPECT_EQ(faults(file, published, {{"parley.log.v1.Leave 001", "b bytes singular"}}).size(), 1u);   // renamed
  EXPECT_EQ(faults(file, published, {{"parley.log.v1.Leave 001", "a string singular"}}).size(), 1u);  // another type
  EXPECT_EQ(faults(file, published, {{"parley.log.v1.Leave 001", "a bytes repeated"}}).size(), 1u);
  EXPECT_EQ(faults(file, published, {}).size(), 1u);                                                 // gone
  EXPECT_EQ(faults(file, {}, published).size(), 1u);                                                 // new, unpublished
  EXPECT_EQ(faults(file, published, {{"parley.log.v1.Leave 002", "a bytes singular"}}).size(), 2u);  // another number
  const Lines retired{{"parley.log.v1.Leave 001", "reserved"}};
  EXPECT_EQ(faults(file, retired, {}).size(), 1u);         // the schema does not reserve it
  EXPECT_EQ(faults(file, retired, published).size(), 1u);  // used again
}

}  // namespace
}  // namespace parley
