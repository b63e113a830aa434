#include "cli/machine_text.h"

#include "cli/number_text.h"

namespace carat::cli {

double arithmetic_peak(const Machine& machine, const BenchmarkResult& result) {
  if (result.quantised && machine.int8_macs_per_second > 0) return machine.int8_macs_per_second;
  if (result.bf16 && machine.bf16_macs_per_second > 0) return machine.bf16_macs_per_second;
  return machine.float_macs_per_second;
}

std::string machine_lines(const Machine& machine) {
  std::string out = "  CPU         " + machine.cpu + "\n  threads     " + grouped(machine.threads) +
                    "\n  kernels     " + machine.isa + "\n  memory      " + bytes_text(machine.memory_bytes) + "\n";
  if (machine.read_bytes_per_second <= 0) return out;
  out += "  bandwidth   " + fixed(machine.read_bytes_per_second / 1e9, 1) + " GB/s, all threads reading\n";
  out += "  arithmetic  ";
  if (machine.int8_macs_per_second > 0)
    out += fixed(machine.int8_macs_per_second / 1e9, 0) + " GMAC/s of 8-bit integers, ";
  if (machine.bf16_macs_per_second > 0) out += fixed(machine.bf16_macs_per_second / 1e9, 0) + " GMAC/s of bf16, ";
  return out + fixed(machine.float_macs_per_second / 1e9, 0) + " GMAC/s of f32\n";
}

}  // namespace carat::cli
