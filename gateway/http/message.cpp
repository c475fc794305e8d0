#include "gateway/http/message.h"

#include <algorithm>

namespace parley::gateway::http {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string Request::header(std::string_view name) const {
  std::string out;
  for (auto& [key, value] : headers) {
    if (!equal_ignoring_case(key, name)) continue;
    if (!out.empty()) out += ", ";
    out += value;
  }
  return out;
}

bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    auto comma = std::min(list.find(','), list.size());
    if (equal_ignoring_case(trim(list.substr(0, comma)), token)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

bool percent_decode(std::string_view text, std::string& out, bool plus_is_space) {
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size() || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0) return false;
      out.push_back(static_cast<char>(hex(text[i + 1]) << 4 | hex(text[i + 2])));
      i += 2;
    } else {
      out.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
    }
  }
  return true;
}

bool query_value(std::string_view query, std::string_view name, std::string& out) {
  std::string key;
  while (!query.empty()) {
    auto amp = std::min(query.find('&'), query.size());
    auto pair = query.substr(0, amp);
    query.remove_prefix(std::min(amp + 1, query.size()));
    auto equals = std::min(pair.find('='), pair.size());
    if (percent_decode(pair.substr(0, equals), key, true) && key == name) {
      return percent_decode(pair.substr(std::min(equals + 1, pair.size())), out, true);
    }
  }
  return false;
}

std::string_view reason_phrase(unsigned status) {
  switch (status) {
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return status >= 500 ? "Internal Server Error" : "Other";
  }
}

std::string serialise(const Response& response, bool keep_alive, bool head) {
  std::string out = "HTTP/1.1 " + std::to_string(response.status);
  out.append(" ").append(reason_phrase(response.status)).append("\r\n");
  auto field = [&out](std::string_view name, std::string_view value) { out.append(name).append(": ").append(value).append("\r\n"); };
  for (auto& [name, value] : response.headers) field(name, value);
  if (response.status != 101) {
    if (!response.body.empty()) field("Content-Type", response.content_type);
    if (response.status != 204) field("Content-Length", std::to_string(response.body.size()));
    field("X-Content-Type-Options", "nosniff");
    field("Connection", keep_alive ? "keep-alive" : "close");
  }
  out += "\r\n";
  if (!head) out += response.body;
  return out;
}

}  // namespace parley::gateway::http
