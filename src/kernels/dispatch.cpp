// Which kernels run on this machine: an ordered list of tables, best first, the portable one last.
#include <vector>

#include "base/concat.h"
#include "base/cpu_features.h"
#include "kernels/abi.h"
#include "kernels/ops.h"

namespace carat::kernels {

static_assert(kMatmulTypes == static_cast<int>(tensor::kDTypeCount), "abi.h counts the types by hand");
static_assert(static_cast<int>(tensor::DType::q4_0) == 13 && static_cast<int>(tensor::DType::q8_0) == 17 &&
                  static_cast<int>(tensor::DType::q4_k) == 20 && static_cast<int>(tensor::DType::iq4_nl) == 23,
              "the ISA tables name types by these numbers");

extern const KernelTable kPortableTable;
#if defined(__x86_64__)
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512Table;
extern const KernelTable kAvx512Bf16Table;
#elif defined(__aarch64__)
extern const KernelTable kNeonTable;
extern const KernelTable kNeonI8mmTable;
#endif

namespace {

using base::concat;

/// One row of the policy: a table, the first thing this CPU lacks for it, empty when it can run, and why another would
/// be faster, empty when none is.
struct Row {
  const KernelTable* table;
  std::string lacking;
  std::string slow = {};
};

std::string first_missing(std::initializer_list<std::pair<bool, const char*>> needs) {
  for (const auto& [present, name] : needs) {
    if (!present) return name;
  }
  return {};
}

std::vector<Row> rows(const base::CpuFeatures& cpu) {
  std::vector<Row> out;
#if defined(__x86_64__)
  const std::string no_avx512 = first_missing({{cpu.avx512f, "avx512f"},
                                               {cpu.avx512bw, "avx512bw"},
                                               {cpu.avx512vl, "avx512vl"},
                                               {cpu.avx512dq, "avx512dq"},
                                               {cpu.avx512_vnni, "avx512_vnni"},
                                               {cpu.avx2, "avx2"},
                                               {cpu.fma, "fma"},
                                               {cpu.f16c, "f16c"}});
  out.push_back({&kAvx512Bf16Table, no_avx512.empty() ? first_missing({{cpu.avx512_bf16, "avx512_bf16"}}) : no_avx512,
                 cpu.slow_avx512_bf16 ? "this CPU multiplies f32 faster than bf16" : ""});
  out.push_back({&kAvx512Table, no_avx512});
  out.push_back({&kAvx2Table, first_missing({{cpu.avx2, "avx2"}, {cpu.fma, "fma"}, {cpu.f16c, "f16c"}})});
#elif defined(__aarch64__)
  out.push_back({&kNeonI8mmTable, first_missing({{cpu.neon_i8mm, "i8mm"}, {cpu.neon_dotprod, "dotprod"}})});
  out.push_back({&kNeonTable, first_missing({{cpu.neon_dotprod, "dotprod"}})});
#endif
  static_cast<void>(cpu);
  out.push_back({&kPortableTable, {}});
  return out;
}

}  // namespace

std::vector<std::string> isa_names() {
  std::vector<std::string> out = {"auto"};
  for (const Row& row : rows(base::detect_cpu_features())) out.emplace_back(row.table->name);
  return out;
}

Result<Dispatch> select_kernels(std::string_view isa, const base::CpuFeatures& cpu) {
  const std::vector<Row> all = rows(cpu);
  std::size_t first = 0;
  std::string skipped;
  if (isa == "auto") {
    for (; !all[first].lacking.empty() || !all[first].slow.empty(); ++first) {
      skipped += concat(skipped.empty() ? "" : "; ", all[first].table->name, ": ",
                        all[first].lacking.empty() ? all[first].slow : "CPU lacks " + all[first].lacking);
    }
  } else {
    while (first < all.size() && isa != all[first].table->name) ++first;
    if (first == all.size()) {
      std::string names = "auto";
      for (const Row& row : all) names += concat(", ", row.table->name);
      return fail(ErrorCode::invalid_argument, concat("isa: found \"", isa, "\"; expected one of ", names));
    }
    if (!all[first].lacking.empty()) {
      return fail(ErrorCode::invalid_argument,
                  concat("isa: ", isa, " cannot run here, the CPU lacks ", all[first].lacking, "; use auto"));
    }
  }
  auto table = std::make_shared<KernelTable>(*all[first].table);
  table->stream_ahead = cpu.stream_ahead;
  Dispatch out;
  out.name = table->name;
  // Quantised types without an integer kernel are decoded to f32 (ops.cpp); no lower table can serve them better.
  for (const tensor::DTypeInfo& type : tensor::registry()) {
    if (type.decode == nullptr) continue;
    const bool served = table->matmul[static_cast<std::size_t>(type.dtype)] != nullptr;
    out.report.push_back({concat("matmul ", type.name),
                          served ? std::string(table->name) : concat(table->name, " (decoded to f32)"), skipped});
  }
  for (const char* operation :
       {"attention", "local_attention", "rms_norm", "rope", "gelu_tanh_mul", "sigmoid_mul", "softcap", "clamp"}) {
    out.report.push_back({operation, table->name, skipped});
  }
  out.table = std::move(table);
  return out;
}

}  // namespace carat::kernels
