// Writes .safetensors files: all tensors at once, or declared first and their data streamed in order.
//
//   auto writer = SafetensorsWriter::create("out.safetensors", {{"logits", tensor::DType::f32, {tokens, vocab_size}}});
//   for (each token) if (auto ok = writer->write("logits", std::as_bytes(row)); !ok) return forward(ok);
//   return writer->finish();
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"
#include "tensor/tensor_view.h"

namespace carat::formats {

/// A tensor promised to a file before its data are there.
struct TensorDeclaration {
  std::string name;
  tensor::DType dtype = tensor::DType::f32;
  tensor::Shape shape;
};

/// A tensor with its data, size_in_bytes(dtype, shape) of them.
struct OutputTensor {
  std::string name;
  tensor::DType dtype = tensor::DType::f32;
  tensor::Shape shape;
  std::span<const std::byte> data;
};

/// Free text pairs stored under "__metadata__".
using SafetensorsMetadata = std::map<std::string, std::string>;

/// One file being written. It grows under a temporary name beside its own and takes its name in finish(), so that a
/// reader never sees half a file; without finish() nothing is left. Not for use by several threads at once.
class SafetensorsWriter {
 public:
  /// Writes the header. The data of the tensors must then come in the order of `tensors`; put types of wide elements
  /// first, so that every tensor starts at a multiple of its element size. Errors: invalid_argument for a repeated,
  /// reserved or non-UTF-8 name, or a type that safetensors does not have; io.
  static Result<SafetensorsWriter> create(const std::filesystem::path& path, std::vector<TensorDeclaration> tensors,
                                          const SafetensorsMetadata& metadata = {});
  ~SafetensorsWriter();
  SafetensorsWriter(SafetensorsWriter&&) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) noexcept;

  /// Appends bytes to the tensor `name`, which must be the first one not complete yet. A tensor may be written in any
  /// number of pieces. Errors: invalid_argument for another tensor or too many bytes; io.
  Result<void> write(std::string_view name, std::span<const std::byte> bytes);

  /// Checks that every tensor is complete and gives the file its name. Errors: invalid_argument, io.
  Result<void> finish();

 private:
  struct State;
  explicit SafetensorsWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Writes a whole file. Errors as SafetensorsWriter's; invalid_argument when data and shape disagree in size.
Result<void> write_safetensors(const std::filesystem::path& path, std::span<const OutputTensor> tensors,
                               const SafetensorsMetadata& metadata = {});

}  // namespace carat::formats
