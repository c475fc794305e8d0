// Beast's in-memory stream, compiled once for the tests.
#include <boost/beast/_experimental/test/impl/stream.ipp>
