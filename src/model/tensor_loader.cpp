#include "model/tensor_loader.h"

#include "base/concat.h"

namespace carat::model {

using base::concat;
using formats::NamedTensor;
using tensor::TensorView;

TensorLoader::TensorLoader(const formats::Checkpoint& checkpoint, const kernels::KernelTable& table,
                           base::ThreadPool* pack_with, WeightMemory& memory)
    : checkpoint_(checkpoint), table_(table), memory_(memory) {
  if (pack_with != nullptr) packing_.emplace(kernels::Packing{*pack_with, memory.packed});
}

std::optional<TensorView> TensorLoader::view(const std::string& name, const tensor::Shape& expected) {
  if (error_) return std::nullopt;
  const NamedTensor* found = checkpoint_.find(name);
  if (found == nullptr) {
    fail_with(ErrorCode::bad_file,
              concat(checkpoint_.path(), ": tensor ", name, " is missing; expected shape ", expected.text()));
    return std::nullopt;
  }
  if (found->view.shape != expected) {
    fail_with(ErrorCode::bad_file, concat(found->file, ": tensor ", name, " has shape ", found->view.shape.text(),
                                          "; expected ", expected.text()));
    return std::nullopt;
  }
  if (tensor::info(found->view.dtype).decode == nullptr) {
    fail_with(ErrorCode::unsupported,
              concat(found->file, ": tensor ", name, " has type ", tensor::info(found->view.dtype).name,
                     "; expected a floating-point or quantised type"));
    return std::nullopt;
  }
  return found->view;
}

std::vector<float> TensorLoader::values(const std::string& name, const tensor::Shape& expected) {
  const auto found = view(name, expected);
  if (!found) return {};
  std::vector<float> out(static_cast<std::size_t>(expected.elements()));
  const auto width = static_cast<std::size_t>(expected.row_elements());
  for (std::int64_t row = 0; row < expected.rows(); ++row) {
    tensor::decode_row(*found, row, std::span(out).subspan(static_cast<std::size_t>(row) * width, width));
  }
  memory_.mapped_bytes += found->size_bytes();
  return out;
}

kernels::PackedMatrix TensorLoader::matrix(const std::string& name, std::int64_t out_features,
                                           std::int64_t in_features) {
  const auto found = view(name, tensor::Shape{out_features, in_features});
  return found ? packed(*found, name) : kernels::PackedMatrix();
}

kernels::PackedMatrix TensorLoader::exact_matrix(const std::string& name, std::int64_t out_features,
                                                 std::int64_t in_features, std::vector<float>& values) {
  const tensor::Shape shape{out_features, in_features};
  const auto found = view(name, shape);
  if (!found) return {};
  if (found->dtype == tensor::DType::f32) return packed(*found, name);
  values = this->values(name, shape);
  auto matrix =
      kernels::pack(table_, {tensor::DType::f32, shape, reinterpret_cast<const std::byte*>(values.data())}, nullptr);
  return matrix ? std::move(*matrix) : kernels::PackedMatrix();
}

kernels::PackedMatrix TensorLoader::packed(const TensorView& view, const std::string& name) {
  if (error_) return {};
  auto matrix = kernels::pack(table_, view, packing_ ? &*packing_ : nullptr);
  if (!matrix) {
    fail_with(matrix.error().code, concat(checkpoint_.path(), ": tensor ", name, ": ", matrix.error().message));
    return {};
  }
  memory_.owned_bytes += matrix->owned_bytes();
  if (matrix->owned_bytes() > 0)
    checkpoint_.release(view);
  else
    memory_.mapped_bytes += view.size_bytes();
  return std::move(*matrix);
}

}  // namespace carat::model
