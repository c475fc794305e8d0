# parley_service_test(name SOURCES ... LINK ... [LABELS ...] [TIMEOUT s] [ARGS ...]): a parley_test that runs beside a real
# Kafka and a real PostgreSQL, started once for the whole ctest run by the fixture `services` (tests/services).
# The test reads them with tests/services/services.h.
set(PARLEY_SERVICES_DIR ${CMAKE_BINARY_DIR}/services)

function(parley_service_test name)
  cmake_parse_arguments(A "" "TIMEOUT" "SOURCES;LINK;LABELS;ARGS" ${ARGN})
  parley_test(${name} SOURCES ${A_SOURCES} LINK ${A_LINK} parley_test_services LABELS ${A_LABELS} services TIMEOUT ${A_TIMEOUT} ARGS ${A_ARGS})
  set_tests_properties(${name} PROPERTIES RUN_SERIAL ON FIXTURES_REQUIRED services ENVIRONMENT "PARLEY_SERVICES=${PARLEY_SERVICES_DIR}/services.env")
endfunction()
