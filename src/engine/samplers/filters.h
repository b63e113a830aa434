// The candidate filters, one file each. All keep at least one candidate and the order of the list.
#pragma once

#include <span>

#include "engine/sampler.h"

namespace carat::engine {

/// The k highest of logits / temperature, every tie with the k-th included (TopKLogitsWarper); k = 0 keeps all.
void select_top_k(std::span<const float> logits, float temperature, int k, Candidates& out);
/// Drops the least likely whose probabilities add up to no more than 1 - top_p (TopPLogitsWarper).
void filter_top_p(Candidates& candidates, float top_p);
/// Drops those less likely than min_p times the most likely (MinPLogitsWarper).
void filter_min_p(Candidates& candidates, float min_p);
/// Keeps those whose surprise lies closest to the entropy until their mass reaches typical_p (TypicalLogitsWarper).
void filter_typical_p(Candidates& candidates, float typical_p);

/// Softmax over the list, in double.
std::vector<double> probabilities(const Candidates& candidates);

}  // namespace carat::engine
