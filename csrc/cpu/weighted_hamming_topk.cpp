#include "weighted_hamming_topk.h"

#include "exclusions.h"
#include "tiles.h"
#include "topk_results.h"
#include "vectors.h"

namespace hashgcn::cpu::HASHGCN_ISA {

constexpr int64_t kLanes = kRegisterBytes / 4;
typedef float Floats __attribute__((vector_size(kRegisterBytes), may_alias));
typedef int32_t Ints __attribute__((vector_size(kRegisterBytes), may_alias));

// Vectors of a group of items: as many independent sums as the adders have in flight, and with
// their distances no more than half of the registers.
constexpr int64_t kVectors = 4;
constexpr int64_t kGroup = kVectors * kLanes;
static_assert(kWeightedGroup % kGroup == 0);

HASHGCN_HD Floats floats_at(const uint32_t* x) { return *reinterpret_cast<const Floats*>(x); }
HASHGCN_HD Ints ints_at(const uint32_t* x) { return *reinterpret_cast<const Ints*>(x); }

HASHGCN_HD Ints popcounts(Ints x) {
#if defined(__AVX512VPOPCNTDQ__)
  return Ints(_mm512_popcnt_epi32(__m512i(x)));
#elif defined(__AVX2__)
  const __m256i pairs = _mm256_maddubs_epi16(byte_counts(__m256i(x)), _mm256_set1_epi8(1));
  return Ints(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#else
  // Without sign: the fields' sums reach the highest bit.
  typedef uint32_t Fields __attribute__((vector_size(kRegisterBytes)));
  Fields sums = Fields(x);
  sums = (sums & 0x55555555) + ((sums >> 1) & 0x55555555);
  sums = (sums & 0x33333333) + ((sums >> 2) & 0x33333333);
  sums = (sums & 0x0f0f0f0f) + ((sums >> 4) & 0x0f0f0f0f);
  sums += sums >> 8;
  sums += sums >> 16;
  return Ints(sums & 63);
#endif
}

// Bit j is set where lane j is above the bound.
HASHGCN_HD uint64_t lanes_above(Floats x, float bound) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(__m512(x), _mm512_set1_ps(bound), _CMP_GT_OQ);
#elif defined(__AVX2__)
  return uint32_t(_mm256_movemask_ps(_mm256_cmp_ps(__m256(x), _mm256_set1_ps(bound), _CMP_GT_OQ)));
#else
  uint64_t above = 0;
  for (int64_t lane = 0; lane < kLanes; ++lane) above |= uint64_t(x[lane] > bound) << lane;
  return above;
#endif
}

// The best items of one query so far, in row order. `bound` is the score of the k-th of them when
// the others were last dropped: a later item must be strictly better, since at equal score the
// smaller row comes first.
struct Best {
  int64_t k, capacity, count;
  float bound;
  uint32_t* keys;
  int64_t* rows;
  int64_t* sorted;  // room for exclusions that do not come sorted
  Exclusions excluded;
  uint32_t* query;  // laid out as items are
};

// The wanted-th smallest key, byte by byte from the top; `wanted` becomes how many of the keys that
// equal it are among so many smallest.
static uint32_t select_key(const uint32_t* keys, int64_t count, int64_t* wanted) {
  uint32_t key = 0, known = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    int64_t histogram[256] = {};
    for (int64_t i = 0; i < count; ++i) {
      histogram[(keys[i] >> shift) & 255] += (keys[i] & known) == key;
    }
    uint32_t byte = 0;
    while (*wanted > histogram[byte]) *wanted -= histogram[byte++];
    key |= byte << shift;
    known |= 255u << shift;
  }
  return key;
}

// Drops all but the k best.
static void drop_low(Best* best) {
  if (best->count <= best->k) return;
  int64_t ties = best->k;
  const uint32_t last = select_key(best->keys, best->count, &ties);
  best->count = drop_beyond(best->keys, best->rows, best->count, last, ties);
  best->bound = core::score_of(last);
}

// Sorts by key, byte by byte from the lowest; equal keys stay in row order. The pairs move between
// the two halves of their room, and after four passes are back in the first.
static void sort(Best* best) {
  uint32_t* keys[] = {best->keys, best->keys + best->capacity / 2};
  int64_t* rows[] = {best->rows, best->rows + best->capacity / 2};
  for (int pass = 0; pass < 4; ++pass) {
    const int from = pass % 2, to = 1 - from, shift = 8 * pass;
    int64_t places[257] = {};
    for (int64_t i = 0; i < best->count; ++i) ++places[1 + ((keys[from][i] >> shift) & 255)];
    for (int byte = 0; byte < 256; ++byte) places[byte + 1] += places[byte];
    for (int64_t i = 0; i < best->count; ++i) {
      const int64_t place = places[(keys[from][i] >> shift) & 255]++;
      keys[to][place] = keys[from][i];
      rows[to][place] = rows[from][i];
    }
  }
}

static inline void consider(const core::WeightedHammingTopk& problem, int64_t row, float score,
                            Best* best) {
  if (score <= best->bound) return;
  if (problem.allow != nullptr && !problem.allow[row]) return;
  if (is_excluded(&best->excluded, row)) return;
  best->keys[best->count] = core::score_key(score);
  best->rows[best->count++] = row;
  if (best->count == best->capacity) drop_low(best);
}

// Lays rows [begin, end) out in groups of `group`, with zeros in the place of missing ones: for
// each segment its halves of all the group's rows, then their scales.
static void lay_out(const core::WeightedHammingTopk& problem, const uint64_t* words,
                    const float* scale, int64_t begin, int64_t end, int64_t group, uint32_t* out) {
  const int64_t segments = problem.num_segments, halves = segment_halves(problem);
  const int64_t of_code = core::words_per_code(problem.code_length), step = segments * of_code;
  for (int64_t first = begin; first < end; first += group) {
    const int64_t count = end - first < group ? end - first : group;
    for (int64_t l = 0; l < segments; ++l) {
      for (int64_t h = 0; h < halves; ++h, out += group) {
        const uint64_t* word = words + first * step + l * of_code + h / 2;
        const int shift = h % 2 * 32;
        for (int64_t j = 0; j < count; ++j) out[j] = uint32_t(word[j * step] >> shift);
        for (int64_t j = count; j < group; ++j) out[j] = 0;
      }
      const float* one = scale + first * segments + l;
      for (int64_t j = 0; j < count; ++j) std::memcpy(out + j, one + j * segments, sizeof *out);
      for (int64_t j = count; j < group; ++j) out[j] = 0;
      out += group;
    }
  }
}

// Scores of a group of items for a query. Each product and each sum is rounded by itself: the file
// is compiled without contraction to fused multiply-adds.
template <int kHalves>
HASHGCN_HD void score_group(const core::WeightedHammingTopk& problem, const uint32_t* group,
                            const uint32_t* query, Floats* scores) {
  const int64_t halves = kHalves > 0 ? kHalves : segment_halves(problem);
  const int32_t length = int32_t(problem.code_length);
  for (int64_t v = 0; v < kVectors; ++v) scores[v] = Floats{};
  for (int64_t l = 0; l < problem.num_segments; ++l) {
    Ints distances[kVectors] = {};
    for (int64_t h = 0; h < halves; ++h, group += kGroup) {
      const int32_t half = int32_t(*query++);
      for (int64_t v = 0; v < kVectors; ++v) {
        distances[v] += popcounts(ints_at(group + v * kLanes) ^ half);
      }
    }
    float scale;
    std::memcpy(&scale, query++, sizeof scale);
    for (int64_t v = 0; v < kVectors; ++v, group += kLanes) {
      const Ints agreement = length - distances[v] - distances[v];
      scores[v] += scale * floats_at(group) * __builtin_convertvector(agreement, Floats);
    }
  }
}

// Items [begin, end), laid out in a tile, for one query.
template <int kHalves>
static void scan_tile(const core::WeightedHammingTopk& problem, const uint32_t* tile, int64_t begin,
                      int64_t end, Best* best) {
  const int64_t step = kGroup * row_numbers(problem);
  for (int64_t first = begin; first < end; first += kGroup, tile += step) {
    union {
      Floats vectors[kVectors];
      float values[kGroup];
    } scores;
    score_group<kHalves>(problem, tile, best->query, scores.vectors);
    uint64_t above = 0;
    for (int64_t v = 0; v < kVectors; ++v) {
      above |= lanes_above(scores.vectors[v], best->bound) << (v * kLanes);
    }
    for (; __builtin_expect(above != 0, 0); above &= above - 1) {
      const int64_t at = __builtin_ctzll(above);
      if (first + at < end) consider(problem, first + at, scores.values[at], best);
    }
  }
}

static void start(const core::WeightedHammingTopk& problem, int64_t item_begin, int64_t item_end,
                  int64_t query, Best* best) {
  best->count = 0;
  best->bound = core::kNoScore;
  best->excluded = exclusions(problem, item_begin, item_end, query, best->sorted);
  lay_out(problem, problem.queries, problem.query_scale, query, query + 1, 1, best->query);
}

static void write(Best* best, float* scores, int64_t* ids) {
  drop_low(best);
  sort(best);
  for (int64_t rank = 0; rank < best->count; ++rank) {
    scores[rank] = core::score_of(best->keys[rank]);
    ids[rank] = best->rows[rank];
  }
  write_missing(best->count, best->k, core::kNoScore, scores, ids);
}

void weighted_hamming_topk(const core::WeightedHammingTopk& problem, int64_t longest,
                           int64_t item_begin, int64_t item_end, float* scores, int64_t* ids,
                           int64_t* scratch, int64_t begin, int64_t end) {
  const int64_t block = weighted_query_block(problem, longest);
  Best best[kWeightedQueryBlock];
  uint32_t* tile = reinterpret_cast<uint32_t*>(round_up(reinterpret_cast<intptr_t>(scratch), 64));
  int64_t* next = scratch + weighted_tile_words(problem);
  for (int64_t slot = 0; slot < block; ++slot) {
    Best& one = best[slot];
    one.k = problem.k;
    one.capacity = weighted_capacity(problem);
    one.rows = next;
    next += one.capacity;
    one.keys = reinterpret_cast<uint32_t*>(next);
    next += one.capacity / 2;
    one.query = reinterpret_cast<uint32_t*>(next);
    next += (row_numbers(problem) + 1) / 2;
    one.sorted = next;
    next += longest;
  }
  const int64_t halves = segment_halves(problem), tile_items = weighted_tile_items(problem);
  const auto scan = halves == 1 ? &scan_tile<1> : halves == 2 ? &scan_tile<2> : &scan_tile<0>;
  for (int64_t first = begin; first < end; first += block) {
    const int64_t queries = end - first < block ? end - first : block;
    for (int64_t slot = 0; slot < queries; ++slot) {
      start(problem, item_begin, item_end, first + slot, &best[slot]);
    }
    for (int64_t item = item_begin; item < item_end; item += tile_items) {
      const int64_t tile_end = item_end - item < tile_items ? item_end : item + tile_items;
      lay_out(problem, problem.items, problem.item_scale, item, tile_end, kGroup, tile);
      for (int64_t slot = 0; slot < queries; ++slot) {
        scan(problem, tile, item, tile_end, &best[slot]);
      }
    }
    for (int64_t slot = 0; slot < queries; ++slot) {
      write(&best[slot], scores + (first + slot) * problem.k, ids + (first + slot) * problem.k);
    }
  }
}

void merge_weighted_topk(const core::WeightedHammingTopk& problem, int64_t parts,
                         const float* part_scores, const int64_t* part_ids, float* scores,
                         int64_t* ids, int64_t begin, int64_t end) {
  merge_parts(problem, parts, part_scores, part_ids, scores, ids, begin, end,
              [](float a, float b) { return a > b; });
}

}  // namespace hashgcn::cpu::HASHGCN_ISA
