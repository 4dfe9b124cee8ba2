#pragma once

#include "../core/hamming_topk.h"
#include "isa.h"

// How many items, of a query's list if there are lists, lie at each distance of queries [begin,
// end), into counts [num_queries, longest_distance + 1].
HASHGCN_KERNEL(void hamming_histogram(const core::Codes& codes, const core::Lists& lists,
                                      int64_t* counts, int64_t begin, int64_t end))
