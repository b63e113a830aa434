// Shape arithmetic and the row, slice and decode operations of TensorView. Sizes that come from files are checked here,
// once, so that everything built on a Shape can multiply its dimensions without overflow.
#include "tensor/tensor_view.h"

#include <algorithm>

#include "base/checked.h"

namespace carat::tensor {

Shape::Shape(std::initializer_list<std::int64_t> dims) {
  const std::optional<Shape> shape = from(std::span(dims.begin(), dims.size()));
  base::expects(shape.has_value(), "a shape written in code has at most four dimensions and a product that fits");
  if (shape) *this = *shape;
}

std::optional<Shape> Shape::from(std::span<const std::int64_t> dims) {
  if (dims.size() > kMaxRank) return std::nullopt;
  // Zero dimensions are left out of the product: [2^40, 2^40, 0] is refused too, because slices of it would overflow.
  std::int64_t product = 1;
  for (const std::int64_t dim : dims) {
    if (dim < 0) return std::nullopt;
    const auto next = base::checked_mul(product, std::max<std::int64_t>(dim, 1));
    if (!next) return std::nullopt;
    product = *next;
  }
  Shape shape;
  shape.rank_ = dims.size();
  std::ranges::copy(dims, shape.dims_.begin());
  return shape;
}

std::int64_t Shape::elements() const {
  std::int64_t product = 1;
  for (const std::int64_t dim : dims()) product *= dim;
  return product;
}

std::int64_t Shape::rows() const {
  const std::int64_t width = row_elements();
  return width == 0 ? 0 : elements() / width;
}

bool Shape::operator==(const Shape& other) const { return std::ranges::equal(dims(), other.dims()); }

std::string Shape::text() const {
  std::string out = "[";
  for (const std::int64_t dim : dims()) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(dim);
  }
  return out + "]";
}

std::optional<std::int64_t> size_in_bytes(DType dtype, const Shape& shape) {
  const DTypeInfo& type = info(dtype);
  if (shape.row_elements() % type.block_elements != 0) return std::nullopt;
  return base::checked_mul<std::int64_t>(shape.elements() / type.block_elements, type.block_bytes);
}

std::int64_t TensorView::row_bytes() const {
  const DTypeInfo& type = info(dtype);
  return shape.row_elements() / type.block_elements * type.block_bytes;
}

std::int64_t TensorView::size_bytes() const { return shape.rows() * row_bytes(); }

TensorView TensorView::slice(std::int64_t i) const {
  base::expects(shape.rank() >= 2 && i >= 0 && i < shape[0], "slice needs rank >= 2 and an index inside it");
  const std::optional<Shape> inner = Shape::from(shape.dims().subspan(1));
  base::expects(inner.has_value(), "the inner dimensions of a valid shape are a valid shape");
  TensorView out{dtype, inner.value_or(Shape{}), data};
  out.data += i * out.size_bytes();
  return out;
}

TensorView TensorView::rows(std::int64_t first, std::int64_t count) const {
  base::expects(shape.rank() == 2 && first >= 0 && count >= 0 && count <= shape[0] - first,
                "rows needs a matrix and a range inside it");
  return TensorView{dtype, Shape{count, shape[1]}, data + first * row_bytes()};
}

void decode_row(const TensorView& tensor, std::int64_t row, std::span<float> out) {
  const DTypeInfo& type = info(tensor.dtype);
  base::expects(type.decode != nullptr, "decode_row needs a type that holds real numbers");
  base::expects(row >= 0 && row < tensor.shape.rows(), "decode_row needs a row inside the tensor");
  base::expects(static_cast<std::int64_t>(out.size()) == tensor.shape.row_elements(),
                "decode_row needs room for exactly one row");
  // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): stated above
  type.decode(tensor.data + row * tensor.row_bytes(), tensor.shape.row_elements(), out.data());
}

}  // namespace carat::tensor
