// Objects compiled with ISA flags hold no weak symbol: the linker could keep that copy of an inline function for the
// whole program, which would then run AVX instructions on CPUs without them. And they export their table, nothing else.
#include <gtest/gtest.h>
#include <stdio.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace carat {
namespace {

struct Symbol {
  char type = '?';
  std::string name;
};

// What `nm` prints: [value] type name.
std::vector<Symbol> symbols(const std::string& nm, const std::string& object) {
  std::vector<Symbol> out;
  FILE* pipe = ::popen(("'" + nm + "' '" + object + "'").c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  if (pipe == nullptr) return out;
  std::string text;
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  EXPECT_EQ(::pclose(pipe), 0) << nm << ' ' << object;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::vector<std::string> parts;
    for (std::string word; words >> word;) parts.push_back(word);
    if (parts.size() >= 2 && parts[parts.size() - 2].size() == 1)
      out.push_back({parts[parts.size() - 2][0], parts.back()});
  }
  return out;
}

// What sanitizers and coverage put into every object; such builds are never shipped.
bool is_instrumentation(const std::string& name) {
  for (const char* part : {"asan", "ubsan", "tsan", "sancov", "__sanitizer"}) {
    if (name.find(part) != std::string::npos) return true;
  }
  return false;
}

TEST(KernelObjects, HaveNoWeakSymbolAndExportOneTable) {
  std::ifstream in(CARAT_BINARY_DIR "/tests/house/kernel_objects.txt");
  std::string nm, object;
  ASSERT_TRUE(std::getline(in, nm)) << "cmake did not write the list";
  int objects = 0;
  while (std::getline(in, object)) {
    SCOPED_TRACE(object);
    ++objects;
    std::vector<std::string> exported;
    const auto found = symbols(nm, object);
    EXPECT_FALSE(found.empty());
    for (const Symbol& symbol : found) {
      if (is_instrumentation(symbol.name)) continue;
      EXPECT_EQ(std::string("wWvVu").find(symbol.type), std::string::npos) << "weak symbol " << symbol.name;
      if (symbol.type >= 'A' && symbol.type <= 'Z' && symbol.type != 'U') exported.push_back(symbol.name);
    }
    ASSERT_EQ(exported.size(), 1U) << testing::PrintToString(exported);
    EXPECT_NE(exported[0].find("Table"), std::string::npos) << exported[0];
  }
  EXPECT_GE(objects, 1);
}

}  // namespace
}  // namespace carat
