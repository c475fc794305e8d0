#include "chat/sha256.h"

#include <openssl/evp.h>

#include <memory>
#include <new>

namespace parley::chat {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};

void need(bool done) {
  if (!done) throw std::bad_alloc();  // SHA-256 is in every provider: what can fail is memory
}

}  // namespace

Sha256 sha256(std::initializer_list<std::string_view> pieces) {
  static const std::unique_ptr<EVP_MD, Freed<EVP_MD_free>> algorithm(EVP_MD_fetch(nullptr, "SHA256", nullptr));
  thread_local const std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>> context(EVP_MD_CTX_new());
  need(algorithm && context && EVP_DigestInit_ex2(context.get(), algorithm.get(), nullptr) == 1);
  for (const std::string_view piece : pieces) need(EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1);
  Sha256 out;
  need(EVP_DigestFinal_ex(context.get(), out.data(), nullptr) == 1);
  return out;
}

}  // namespace parley::chat
