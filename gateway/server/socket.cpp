#include "gateway/server/socket.h"

#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <stdexcept>

namespace parley::gateway {

namespace {

std::string openssl_error() {
  char text[256] = "unknown";
  ERR_error_string_n(ERR_get_error(), text, sizeof text);
  return text;
}

Socket::Result from_errno(Socket::State waiting) {
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {waiting};
  return {Socket::State::closed};
}

}  // namespace

TlsContext::TlsContext(const std::string& certificate_file, const std::string& key_file) : context_(SSL_CTX_new(TLS_server_method())) {
  if (!context_) throw std::runtime_error("TLS: " + openssl_error());
  SSL_CTX_set_min_proto_version(get(), TLS1_2_VERSION);
  // What is not written is wanted again from wherever it lies then; idle connections give their buffers back.
  SSL_CTX_set_mode(get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // Resumption by tickets only: a server-side cache would grow with every connection.
  SSL_CTX_set_session_cache_mode(get(), SSL_SESS_CACHE_OFF);
  if (SSL_CTX_use_certificate_chain_file(get(), certificate_file.c_str()) != 1)
    throw std::runtime_error("TLS certificate " + certificate_file + ": " + openssl_error());
  if (SSL_CTX_use_PrivateKey_file(get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) throw std::runtime_error("TLS key " + key_file + ": " + openssl_error());
  if (SSL_CTX_check_private_key(get()) != 1) throw std::runtime_error("TLS key " + key_file + " does not belong to " + certificate_file);
}

Socket::Socket(Tcp socket, SSL_CTX* tls) : socket_(std::move(socket)) {
  boost::system::error_code ignored;  // the first read tells if the socket is broken
  socket_.native_non_blocking(true, ignored);
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  if (!tls) return;
  tls_.reset(SSL_new(tls));
  if (!tls_ || SSL_set_fd(tls_.get(), socket_.native_handle()) != 1) throw std::runtime_error("TLS: " + openssl_error());
  SSL_set_accept_state(tls_.get());
}

Socket::Result Socket::tls_result(int n) {
  if (n > 0) return {State::done, static_cast<std::size_t>(n)};
  switch (SSL_get_error(tls_.get(), n)) {
    case SSL_ERROR_WANT_READ:
      return {State::wants_read};
    case SSL_ERROR_WANT_WRITE:
      return {State::wants_write};
    default:
      return {State::closed};
  }
}

Socket::Result Socket::read(std::span<char> into) {
  if (tls_) {
    ERR_clear_error();
    return tls_result(SSL_read(tls_.get(), into.data(), static_cast<int>(std::min<std::size_t>(into.size(), INT_MAX))));
  }
  auto n = ::recv(socket_.native_handle(), into.data(), into.size(), 0);
  if (n > 0) return {State::done, static_cast<std::size_t>(n)};
  return n == 0 ? Result{State::closed} : from_errno(State::wants_read);
}

Socket::Result Socket::write(std::span<const iovec> pieces) {
  if (tls_) {
    ERR_clear_error();
    return tls_result(SSL_write(tls_.get(), pieces[0].iov_base, static_cast<int>(std::min<std::size_t>(pieces[0].iov_len, INT_MAX))));
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  auto n = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL);
  return n >= 0 ? Result{State::done, static_cast<std::size_t>(n)} : from_errno(State::wants_write);
}

void Socket::shutdown_send() {
  if (tls_) {
    ERR_clear_error();
    SSL_shutdown(tls_.get());  // best effort: close_notify, without waiting for the peer's
  }
  ::shutdown(socket_.native_handle(), SHUT_WR);
}

}  // namespace parley::gateway
