// What one core can do with data in its first cache; compiled for this machine by bounds.py.
#include <stdint.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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

#if defined(__AVX512F__)
typedef __m512i Words;
static inline Words sum(Words a, Words b, Words c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
static Words carry(Words a, Words b, Words c) { return _mm512_ternarylogic_epi64(a, b, c, 0xe8); }
#else
typedef uint64_t Words __attribute__((vector_size(32)));
static inline Words sum(Words a, Words b, Words c) { return a ^ b ^ c; }
static Words carry(Words a, Words b, Words c) { return (a & b) | (c & (a ^ b)); }
#endif

// passes of full adders over kAdders vectors in registers; returns how many words a vector has.
enum { kAdders = 6 };

int64_t full_adders(int64_t passes, uint64_t* out) {
  Words x[kAdders], y[kAdders], key = {0x123456789abcdef, 0x55};
  for (int i = 0; i < kAdders; ++i) x[i] = y[i] = key + i;
  for (int64_t p = 0; p < passes; ++p) {
    for (int i = 0; i < kAdders; ++i) {
      const Words next = carry(x[i], y[i], key);
      x[i] = sum(x[i], y[i], key);
      y[i] = next;
    }
  }
  *out = 0;
  for (int i = 0; i < kAdders; ++i) *out += x[i][0] + y[i][1];
  return sizeof(Words) / 8;
}
