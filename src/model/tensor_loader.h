// Finds, checks and packs the tensors of a checkpoint one by one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "kernels/ops.h"
#include "model/weights.h"

namespace carat::model {

/// Keeps the first error, so that a reader can ask for everything and check once; after one, everything is empty.
class TensorLoader {
 public:
  /// With a pool to pack with, matrices are packed into `memory`, which counts all bytes.
  TensorLoader(const formats::Checkpoint& checkpoint, const kernels::KernelTable& table, base::ThreadPool* pack_with,
               WeightMemory& memory);

  const formats::Checkpoint& checkpoint() const { return checkpoint_; }
  bool gguf() const { return checkpoint_.format() == formats::Format::gguf; }
  bool has(const std::string& name) const { return checkpoint_.find(name) != nullptr; }

  /// The view of a tensor of exactly this shape.
  std::optional<tensor::TensorView> view(const std::string& name, const tensor::Shape& expected);
  /// All values of a tensor of this shape as f32.
  std::vector<float> values(const std::string& name, const tensor::Shape& expected);
  std::vector<float> vector(const std::string& name, std::int64_t size) { return values(name, tensor::Shape{size}); }
  kernels::PackedMatrix matrix(const std::string& name, std::int64_t out_features, std::int64_t in_features);
  /// A small matrix whose products take activations unrounded: its values as f32 in `values`, which the result borrows,
  /// where the file has another type.
  kernels::PackedMatrix exact_matrix(const std::string& name, std::int64_t out_features, std::int64_t in_features,
                                     std::vector<float>& values);
  kernels::PackedMatrix packed(const tensor::TensorView& view, const std::string& name);

  const std::optional<Error>& error() const { return error_; }
  void fail_with(ErrorCode code, std::string message) {
    if (!error_) error_ = Error{code, std::move(message)};
  }

 private:
  const formats::Checkpoint& checkpoint_;
  const kernels::KernelTable& table_;
  WeightMemory& memory_;
  std::optional<kernels::Packing> packing_;
  std::optional<Error> error_;
};

}  // namespace carat::model
