// One accepted connection's transport: a non-blocking TCP socket, in the clear or under TLS.
//
// Readiness, not completion: the owner waits for `readable` or `writable` and then reads into a buffer that it shares
// among all its connections, so that an idle connection owns no buffer. TLS is OpenSSL on the file descriptor itself, with
// its own buffers released while idle. One thread.
#pragma once

#include <openssl/ssl.h>
#include <sys/uio.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace parley::gateway {

using Tcp = boost::asio::basic_stream_socket<boost::asio::ip::tcp, boost::asio::io_context::executor_type>;

// Server certificate and key (PEM). Throws std::runtime_error where they cannot be used.
class TlsContext {
 public:
  TlsContext(const std::string& certificate_file, const std::string& key_file);
  SSL_CTX* get() const { return context_.get(); }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
};

class Socket {
 public:
  // `tls`: null for plain TCP. The socket is made non-blocking and TCP_NODELAY.
  Socket(Tcp socket, SSL_CTX* tls);

  enum class State : std::uint8_t {
    done,         // `bytes` were moved (of a read: more than 0)
    wants_read,   // wait for readable, then the same again
    wants_write,  // wait for writable, then the same again
    closed,       // by the peer, or broken
  };
  struct Result {
    State state;
    std::size_t bytes = 0;
  };
  Result read(std::span<char> into);
  // Plain TCP takes all pieces in one call; TLS takes the first (and wants the same bytes again when told to wait).
  Result write(std::span<const iovec> pieces);

  // Says that nothing more will be sent; reading goes on.
  void shutdown_send();

  bool tls() const { return tls_ != nullptr; }
  // Bytes that TLS has taken from the socket and not handed out yet.
  bool pending() const { return tls_ && SSL_pending(tls_.get()) > 0; }
  Tcp& tcp() { return socket_; }

 private:
  Result tls_result(int n);

  Tcp socket_;
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  std::unique_ptr<SSL, Free> tls_;
};

}  // namespace parley::gateway
