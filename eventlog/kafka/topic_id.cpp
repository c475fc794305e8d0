#include "eventlog/kafka/topic_id.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <ranges>

namespace parley::eventlog::kafka {
namespace {

constexpr std::int16_t kMetadataApi = 3, kMetadataVersion = 12;
constexpr std::size_t kMostResponse = 16 << 20;

void put16(std::string& out, std::int16_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value));
}

void put32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

// Lengths of Kafka's compact types: length + 1 as a varint.
void put_compact(std::string& out, std::string_view text) {
  auto length = text.size() + 1;
  for (; length >= 0x80; length >>= 7) out.push_back(static_cast<char>(length | 0x80));
  out.push_back(static_cast<char>(length));
  out += text;
}

// Reads big-endian fields; once something is missing everything reads as zero and `ok` is false.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  bool ok() const { return ok_; }
  std::string_view bytes(std::size_t count) {
    if (count > in_.size()) {
      ok_ = false;
      in_ = {};
      return {};
    }
    const auto out = in_.substr(0, count);
    in_.remove_prefix(count);
    return out;
  }
  std::uint64_t fixed(std::size_t size) {
    std::uint64_t value = 0;
    for (const char byte : bytes(size)) value = value << 8 | static_cast<std::uint8_t>(byte);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      const auto byte = fixed(1);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    ok_ = false;
    return 0;
  }
  std::string_view compact() {
    const auto length = varint();
    return length == 0 ? std::string_view{} : bytes(length - 1);
  }
  void skip_tags() {
    for (auto count = varint(); count > 0 && ok_; --count) {
      varint();
      bytes(varint());
    }
  }

 private:
  std::string_view in_;
  bool ok_ = true;
};

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

bool send_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const auto sent = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::optional<std::string> receive(int fd, std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t got = 0; got < size;) {
    const auto read = ::recv(fd, out.data() + got, size - got, 0);
    if (read <= 0) return std::nullopt;
    got += static_cast<std::size_t>(read);
  }
  return out;
}

std::expected<std::string, Error> ask(const std::string& host, const std::string& port, std::string_view topic, std::chrono::milliseconds timeout) {
  const auto away = [&](const char* what) { return std::unexpected(Error{Errc::unavailable, host + ":" + port + " " + what}); };
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return away("cannot be resolved");
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
  const timeval limit{timeout.count() / 1'000, (timeout.count() % 1'000) * 1'000};
  for (const auto* address = addresses.get(); address; address = address->ai_next) {
    const Socket socket(::socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC, address->ai_protocol));
    if (socket.fd() < 0) continue;
    ::setsockopt(socket.fd(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);  // connect obeys it too
    ::setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (::connect(socket.fd(), address->ai_addr, address->ai_addrlen) != 0) continue;
    const auto request = encode_metadata_request(topic);
    std::string framed;
    put32(framed, static_cast<std::uint32_t>(request.size()));
    framed += request;
    if (!send_all(socket.fd(), framed)) return away("does not take the request");
    const auto length = receive(socket.fd(), 4);
    if (!length) return away("does not answer");
    const auto size = Reader(*length).fixed(4);
    if (size > kMostResponse) return away("answers with too much");
    const auto response = receive(socket.fd(), size);
    if (!response) return away("does not answer");
    return decode_metadata_response(*response, topic);
  }
  return away("cannot be reached");
}

}  // namespace

std::string encode_metadata_request(std::string_view topic) {
  std::string out;
  put16(out, kMetadataApi);
  put16(out, kMetadataVersion);
  put32(out, 1);  // correlation id
  put16(out, 6);  // client id, still in the old form
  out += "parley";
  out.push_back(0);      // no tags
  out.push_back(1 + 1);  // one topic
  out.append(16, '\0');  // by name, not by id
  put_compact(out, topic);
  out.push_back(0);  // no tags of the topic
  out.push_back(0);  // do not create it
  out.push_back(0);  // nor tell what one may do with it
  out.push_back(0);  // no tags
  return out;
}

std::expected<std::string, Error> decode_metadata_response(std::string_view response, std::string_view topic) {
  Reader in(response);
  in.fixed(4);  // correlation id: the only request of this connection
  in.skip_tags();
  in.fixed(4);  // throttle time
  for (auto brokers = in.varint(); brokers > 1 && in.ok(); --brokers) {
    in.fixed(4);   // id
    in.compact();  // host
    in.fixed(4);   // port
    in.compact();  // rack
    in.skip_tags();
  }
  in.compact();  // cluster id
  in.fixed(4);   // controller
  const auto topics = in.varint();
  const auto error = in.fixed(2);
  const auto name = in.compact();
  const auto id = in.bytes(16);
  if (!in.ok() || topics != 2 || name != topic) return std::unexpected(Error{Errc::unavailable, "the broker's metadata cannot be read"});
  if (error != 0 || id.find_first_not_of('\0') == std::string_view::npos)
    return std::unexpected(Error{Errc::unavailable, "the broker tells no id of the topic: error " + std::to_string(error)});
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char byte : id) {
    out.push_back(kHex[static_cast<std::uint8_t>(byte) >> 4]);
    out.push_back(kHex[static_cast<std::uint8_t>(byte) & 15]);
  }
  return out;
}

std::expected<std::string, Error> topic_id(std::string_view bootstrap, std::string_view topic, std::chrono::milliseconds timeout) {
  std::expected<std::string, Error> result = std::unexpected(Error{Errc::misconfigured, "no bootstrap server is given"});
  for (const auto part : std::views::split(bootstrap, ',')) {
    std::string_view server(part.begin(), part.end());
    while (server.starts_with(' ')) server.remove_prefix(1);
    const auto colon = server.rfind(':');
    auto host = std::string(server.substr(0, colon));
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);  // IPv6
    result = ask(host, colon == std::string_view::npos ? "9092" : std::string(server.substr(colon + 1)), topic, timeout);
    if (result) return result;
  }
  return result;
}

}  // namespace parley::eventlog::kafka
