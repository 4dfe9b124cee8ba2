// The derivative of the sign's Fourier series, bounded as BGCH does.
#pragma once

#include <cmath>

#include "macros.h"

namespace hashgcn::core {

constexpr int64_t kMaxFourierTerms = 65536;

// The nearest whole number, and what is left, without rounding; |x| below 2^51.
struct Parts {
  double whole, rest;
};

HASHGCN_HD Parts split(double x) {
  constexpr double kShift = 6755399441055744.;  // 1.5 * 2^52: adding it rounds to a whole number
  const double whole = (x + kShift) - kShift;
  return {whole, x - whole};
}

// sin(pi x) for |x| up to 1/2, by Taylor polynomials: the next terms are below 7e-10 and 2e-18.
HASHGCN_HD float sine_of_half_turns(float x) {
  const float r = 3.14159265f * x, v = -r * r;
  float p = 1 / 6227020800.f;
  p = p * v + 1 / 39916800.f;
  p = p * v + 1 / 362880.f;
  p = p * v + 1 / 5040.f;
  p = p * v + 1 / 120.f;
  p = p * v + 1 / 6.f;
  return r * (p * v + 1);
}

HASHGCN_HD double sine_of_half_turns(double x) {
  const double r = 3.141592653589793 * x, v = -r * r;
  double p = 1 / 51090942171709440000.;
  p = p * v + 1 / 121645100408832000.;
  p = p * v + 1 / 355687428096000.;
  p = p * v + 1 / 1307674368000.;
  p = p * v + 1 / 6227020800.;
  p = p * v + 1 / 39916800.;
  p = p * v + 1 / 362880.;
  p = p * v + 1 / 5040.;
  p = p * v + 1 / 120.;
  p = p * v + 1 / 6.;
  return r * (p * v + 1);
}

// scale clamp((4 omega / pi) S, -1, 1), S the sum of cos(i theta) over the first `count` odd i,
// theta = omega scale x.
//
// S is sin(2 count theta) / (2 sin theta): two sines, however many terms. Angles are kept in half
// turns and reduced in double: S is steep where theta is near a multiple of pi. From 2^30 half
// turns on, infinity included, the result is 0: float32 does not resolve the phase there, and an
// infinite x has none.
template <class T>
HASHGCN_HD T sign_fourier_slope(T x, double scale, double omega, double count) {
  constexpr double kInversePi = 0.3183098861837907;
  const double turns = x * (scale * omega * kInversePi);
  const Parts once = split(turns), often = split(2 * count * once.rest);
  const double whole = once.whole + often.whole;
  const T odd = T(whole - 2 * split(whole / 2).whole);  // 0, 1 or -1
  const T rest = T(once.rest);
  const T ratio = sine_of_half_turns(T(often.rest)) / (2 * sine_of_half_turns(rest));
  const T sum = (1 - 2 * odd * odd) * (std::fabs(rest) > T(1e-30) ? ratio : T(count));
  const T slope = T(4 * kInversePi * omega) * sum;
  const T below = slope < 1 ? slope : T(1);
  const T held = below > -1 ? below : T(-1);
  return std::fabs(turns) < 1073741824. ? T(scale) * held : T(0);
}

}  // namespace hashgcn::core
