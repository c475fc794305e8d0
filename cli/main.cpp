// parley: chat from a terminal, for people who try the server and for tests.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <iostream>

#include "cli/commands.h"

int main(int argc, char** argv) {
  using namespace parley::cli;
  std::signal(SIGPIPE, SIG_IGN);
  boost::asio::io_context io{1};
  int exit_code = 0;
  try {
    auto arguments = Arguments::parse({argv + 1, argv + argc});
    boost::asio::co_spawn(io, run(std::move(arguments)), [&](std::exception_ptr failure, int code) {
      io.stop();
      if (failure) std::rethrow_exception(failure);
      exit_code = code;
    });
    io.run();
  } catch (const Failure& failure) {
    std::cerr << "parley: " << failure.what() << '\n';
    return failure.exit_code;
  } catch (const Closed& closed) {
    std::cerr << "parley: the connection was lost (" << closed.reason << ")\n";
    return kExitUnavailable;
  }
  return std::cout.flush() ? exit_code : 74;  // EX_IOERR
}
