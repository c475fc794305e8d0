#include "gateway/http/problem.h"

#include "gateway/json/json.h"
#include "parley/rest/v1/rest.pb.h"

namespace parley::gateway::http {

Response problem(unsigned status, chat::Code code, std::string_view detail) {
  rest::v1::Problem body;
  body.set_type("about:blank");
  body.set_title(std::string(reason_phrase(status)));
  body.set_status(status);
  body.set_detail(std::string(detail));
  body.set_code(std::string(chat::name(code)));
  Response response;
  response.status = status;
  response.content_type = "application/problem+json";
  json::Writer().write(body, response.body);
  return response;
}

Response problem(chat::Code code, std::string_view detail, std::uint32_t retry_after_ms) {
  auto response = problem(static_cast<unsigned>(chat::http_status(code)), code, detail);
  if (response.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (retry_after_ms == 0 && (response.status == 429 || response.status == 503)) retry_after_ms = 1000;
  if (retry_after_ms > 0) response.headers.emplace_back("Retry-After", std::to_string((retry_after_ms + 999) / 1000));
  return response;
}

}  // namespace parley::gateway::http
