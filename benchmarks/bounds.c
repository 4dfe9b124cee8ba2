// What one core can do with data in its first cache; compiled for this machine by bounds.py.
#include <stdint.h>

// passes over n words: XOR, population count and sum of each, as a Hamming scan does.
uint64_t popcounts(const uint64_t* words, int64_t n, int64_t passes) {
  uint64_t total = 0;
  for (int64_t p = 0; p < passes; ++p) {
    const uint64_t key = total;  // Unknown before the pass before it: no pass can be left out.
    for (int64_t i = 0; i < n; ++i) total += __builtin_popcountll(words[i] ^ key);
  }
  return total;
}

// 12 vectors of 64 bytes: more than latency times throughput needs, fewer than the registers.
enum { kLanes = 192 };

float multiply_adds(int64_t passes, float a) {
  float x[kLanes];
  for (int i = 0; i < kLanes; ++i) x[i] = (float)i;
  for (int64_t p = 0; p < passes; ++p) {
    for (int i = 0; i < kLanes; ++i) x[i] = x[i] * a + a;
  }
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += x[i];
  return total;
}
