// CPUID on x86, the kernel's capability words on ARM. AVX state is trusted only if XGETBV says the system saves it:
// without that check a program dies of an illegal instruction under some virtual machines.
#include "base/cpu_features.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace carat::base {

#if defined(__x86_64__)

namespace {

struct CpuidLeaf {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidLeaf cpuid(unsigned leaf, unsigned subleaf) {
  CpuidLeaf out;
  // The function returns 0 and leaves the registers alone when the processor has no such leaf.
  if (__get_cpuid_count(leaf, subleaf, &out.eax, &out.ebx, &out.ecx, &out.edx) == 0) return {};
  return out;
}

bool bit(unsigned word, int position) { return ((word >> position) & 1U) != 0; }

bool made_by_intel() {
  const CpuidLeaf name = cpuid(0, 0);  // "GenuineIntel", four letters a register
  return name.ebx == 0x756E6547U && name.edx == 0x49656E69U && name.ecx == 0x6C65746EU;
}

// Extended control register 0: which register files the operating system saves on a context switch.
std::uint64_t xcr0() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

}  // namespace

CpuFeatures detect_cpu_features() {
  CpuFeatures found;
  const CpuidLeaf basic = cpuid(1, 0);
  const bool osxsave = bit(basic.ecx, 27);
  if (!osxsave || !bit(basic.ecx, 28)) return found;  // no AVX, or nobody saves its registers
  const std::uint64_t saved = xcr0();
  const bool ymm_saved = (saved & 0x06) == 0x06;  // SSE and AVX state
  const bool zmm_saved = (saved & 0xE6) == 0xE6;  // and the mask registers and both halves of ZMM state
  const CpuidLeaf seven = cpuid(7, 0);
  const CpuidLeaf seven_one = cpuid(7, 1);
  if (ymm_saved) {
    found.avx2 = bit(seven.ebx, 5);
    found.fma = bit(basic.ecx, 12);
    found.f16c = bit(basic.ecx, 29);
  }
  // Streams of both threads of a virtual machine on an Emerald Rapids: 20 GB/s as they come, 29 GB/s asked for; on a
  // Zen 4 the same took a quarter away (measured, docs/benchmarks.md).
  if (made_by_intel()) found.stream_ahead = 4096;
  if (zmm_saved) {
    found.avx512f = bit(seven.ebx, 16);
    found.avx512dq = bit(seven.ebx, 17);
    found.avx512bw = bit(seven.ebx, 30);
    found.avx512vl = bit(seven.ebx, 31);
    found.avx512_vnni = bit(seven.ecx, 11);
    found.avx512_bf16 = bit(seven_one.eax, 5);
    // One such product of 512 bits in two cycles, two f32 multiply-adds in each (measured, docs/benchmarks.md): what
    // multiplies bf16 fast there are the matrix tiles, which a virtual machine rarely shows.
    found.slow_avx512_bf16 = found.avx512_bf16 && made_by_intel();
  }
  return found;
}

std::string cpu_name() {
  std::string name;
  for (unsigned leaf = 0x80000002U; leaf <= 0x80000004U; ++leaf) {
    const CpuidLeaf part = cpuid(leaf, 0);
    const unsigned words[4] = {part.eax, part.ebx, part.ecx, part.edx};
    char text[sizeof words];
    std::memcpy(text, words, sizeof words);
    for (const char c : text) {
      if (c != '\0') name.push_back(c);
    }
  }
  while (!name.empty() && name.back() == ' ') name.pop_back();
  while (!name.empty() && name.front() == ' ') name.erase(name.begin());
  return name.empty() ? "x86_64" : name;
}

#elif defined(__aarch64__)

CpuFeatures detect_cpu_features() {
  CpuFeatures found;
  found.neon = true;  // part of the base architecture
#if defined(__linux__)
  constexpr unsigned long kAsimdDotProduct = 1UL << 20;    // HWCAP_ASIMDDP
  constexpr unsigned long kInt8MatrixProduct = 1UL << 13;  // HWCAP2_I8MM
  found.neon_dotprod = (getauxval(AT_HWCAP) & kAsimdDotProduct) != 0;
  found.neon_i8mm = (getauxval(AT_HWCAP2) & kInt8MatrixProduct) != 0;
#endif
  return found;
}

std::string cpu_name() { return "aarch64"; }

#else

CpuFeatures detect_cpu_features() { return {}; }
std::string cpu_name() { return "unknown processor"; }

#endif

}  // namespace carat::base
