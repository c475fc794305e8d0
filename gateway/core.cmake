# The gateway's pure core: no sockets, no gRPC, no threads. The simulation compiles the same sources with breakable rules.
set(PARLEY_GATEWAY_CORE_SOURCES
  attempts.cpp barrier_reads.cpp core.cpp deliver.cpp drain.cpp frames.cpp hello.cpp known_users.cpp operation.cpp outcomes.cpp progress.cpp publish.cpp
  rates.cpp reading.cpp resumes.cpp routers.cpp sessions.cpp sync_token.cpp)

add_library(parley_gateway_core STATIC ${PARLEY_GATEWAY_CORE_SOURCES})
target_link_libraries(parley_gateway_core PUBLIC parley_flags parley_chat parley_proto parley_ring fmt::fmt PkgConfig::xxhash)

list(TRANSFORM PARLEY_GATEWAY_CORE_SOURCES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
set(PARLEY_GATEWAY_PURE_SOURCES ${PARLEY_GATEWAY_CORE_SOURCES} PARENT_SCOPE)

parley_test(gateway_core_send_test SOURCES core_send_test.cpp core_outcome_test.cpp core_rates_test.cpp LINK parley_gateway_core parley_eventlog_memory parley_store_memory LABELS unit)
parley_test(gateway_core_session_test SOURCES core_session_test.cpp core_hello_test.cpp core_reading_test.cpp core_marks_test.cpp LINK parley_gateway_core parley_eventlog_memory parley_store_memory LABELS unit)
parley_test(gateway_parts_test SOURCES parts_test.cpp barrier_reads_test.cpp LINK parley_gateway_core parley_eventlog_memory parley_store_memory LABELS unit)
