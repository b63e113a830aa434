#include "model/decoder_layer.h"

namespace carat::model {

void decoder_layer(LayerPass& pass) {
  attention_block(pass);
  feedforward_block(pass);
  if (pass.per_layer_input != nullptr) per_layer_embedding_block(pass);
  // The scalar multiplies the whole stream, residual included.
  if (pass.config.layer_scalars) {
    kernels::scale(pass.context, pass.w.x.data(), pass.rows() * pass.hidden(), pass.weights.layer_scalar);
  }
}

}  // namespace carat::model
