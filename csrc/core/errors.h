// Bits of a device's error flag: what kernels found wrong with values, where they cannot raise.
#pragma once

namespace hashgcn::core {

enum Error : unsigned {
  kNan = 1u << 0,
  kNotSigns = 1u << 1,
  kBadUsers = 1u << 2,
  kBadCandidates = 1u << 3,
  kNotFinite = 1u << 4,
  kBadOffsets = 1u << 5,
  kBadTail = 1u << 6,
  kBadLists = 1u << 7,
  kBadGraph = 1u << 8,
  kNotPositive = 1u << 9,
  kBadPtr = 1u << 10,
  kBadIds = 1u << 11,
  kNotIncreasing = 1u << 12,
  kNotWeights = 1u << 13,
  kBadItemWeights = 1u << 14,
};

// What was expected, by bit.
constexpr const char* kErrorTexts[] = {
    "x without NaN, got NaN",
    "codes to hold only +1 and -1, got another value",
    "users that are rows of the graph or -1, got others",
    "candidate_ptr to rise from 0 to the number of candidate_ids, candidate_ids that exist, finite "
    "candidate_weight and a candidate_order that sorts the ids, got others",
    "embeddings and scale finite, got NaN or infinity",
    "offsets that rise by each row's number of positives, to at most the number of ranks, got "
    "others",
    "words with zero bits past code_length, got bits of a longer code",
    "exclude_ptr (ptr) to rise from 0 to the number of exclude_ids (ids), and ids that exist, got "
    "others",
    "user_ptr and item_ptr that do not decrease and lie inside their ids, and ids that exist, got "
    "others",
    "tau, beta and scale finite and positive, got another value",
    "ptr (graph.user_ptr) to rise inside of ids, got rows that do not",
    "ids (graph.user_items) of items that exist, got others",
    "ids (graph.user_items) strictly increasing in each row, got others",
    "user_codes to hold only odd weights of their levels, got another value",
    "item_weights finite and not negative, got others",
};

}  // namespace hashgcn::core
