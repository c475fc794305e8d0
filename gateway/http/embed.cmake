# Writes OUT: a C++ file with the document IN as a string.
file(READ "${IN}" text)
file(WRITE "${OUT}" "#include \"gateway/http/rest.h\"\n\nnamespace parley::gateway::http {\n\nextern const std::string_view kOpenApi = R\"json(${text})json\";\n\n}  // namespace parley::gateway::http\n")
