// The sign rule of every code, and the gradients that take the place of the sign's.
//
// A gradient is a kind: its numbers, and `slope(kind, x, factor)`, what gradients at x are
// multiplied with. `factor` is the number that may change at every step: SignSwish's and tanh's
// beta, the scale of the others.
#pragma once

#include "sigmoid.h"

namespace hashgcn::core {

// True where a code has +1: 0 and -0 count as +1. NaN is refused before it gets here.
template <class T>
HASHGCN_HD bool is_plus(T x) {
  return load(x) >= 0;
}

struct Swish {};

// The derivative of SignSwish, SS'_beta(x) / beta = 2t [2(1+t) + z(t-1)] / (1+t)^3 with
// z = |beta x|, t = e^-z. It is 1 at 0, negative beyond z of about 2.4, and 0 where t is below the
// range of T: an infinite beta x does not become inf * 0.
template <class T>
HASHGCN_HD T slope(Swish, T x, T beta) {
  const T limit = sizeof(T) == 8 ? T(746) : T(87.3f);
  const T z = std::fabs(beta * x);
  const T t = exp_minus(z);
  const T u = 1 + t;
  return beta * (z < limit ? (t + t) * (u + u + z * (t - 1)) / (u * u * u) : T(0));
}

struct StraightThrough {
  double clip;
};

// The derivative of scale x held in [-clip, clip]: the scale inside, both ends included, 0 outside.
template <class T>
HASHGCN_HD T slope(StraightThrough kind, T x, T scale) {
  return std::fabs(scale * x) <= T(kind.clip) ? scale : T(0);
}

struct Tanh {};

// d/dx tanh(beta x) = 4 beta sigma'(2 beta x), which keeps its digits where tanh is 1 to rounding;
// bracketed so that no finite beta overflows.
template <class T>
HASHGCN_HD T slope(Tanh, T x, T beta) {
  return beta * (4 * sigmoid_slope(2 * (beta * x)));
}

// tanh z, infinite z included.
//
// Host float: (1 - t) / (1 + t) with t = e^(-2 |z|), and up to |z| = 5/8, where 1 - t loses digits,
// the fifth convergent of tanh's continued fraction, whose relative error there is below 1e-9.
HASHGCN_HD float hyperbolic_tangent(float z) {
#if defined(__CUDA_ARCH__)
  return tanhf(z);
#else
  const float u = z * z, t = exp_minus(2 * std::fabs(z));
  const bool small = u < 0.390625f;
  const float above = small ? z * (945 + u * (105 + u)) : std::copysign(1 - t, z);
  const float below = small ? 945 + u * (420 + u * 15) : 1 + t;
  return above / below;
#endif
}

HASHGCN_HD double hyperbolic_tangent(double z) { return std::tanh(z); }

constexpr int64_t kMaxFourierTerms = 65536;

// The sign's Fourier series: `count` odd multiples of the frequency omega.
struct Fourier {
  double omega, count;
};

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

// The derivative of the series, bounded as BGCH does: scale clamp((4 omega / pi) S, -1, 1), S the
// sum of cos(i theta) over the first `count` odd i, theta = omega scale x.
//
// S is sin(2 count theta) / (2 sin theta): two sines, however many terms. Angles are kept in half
// turns and reduced in double: S is steep where theta is near a multiple of pi. From 2^30 half
// turns on, infinity included, the result is 0: float32 does not resolve the phase there, and an
// infinite x has none.
template <class T>
HASHGCN_HD T slope(Fourier kind, T x, T scale) {
  constexpr double kInversePi = 0.3183098861837907;
  const double turns = x * (scale * kind.omega * kInversePi);
  const Parts once = split(turns), often = split(2 * kind.count * once.rest);
  const double whole = once.whole + often.whole;
  const T odd = T(whole - 2 * split(whole / 2).whole);  // 0, 1 or -1
  const T rest = T(once.rest);
  const T ratio = sine_of_half_turns(T(often.rest)) / (2 * sine_of_half_turns(rest));
  const T sum = (1 - 2 * odd * odd) * (std::fabs(rest) > T(1e-30) ? ratio : T(kind.count));
  const T steepness = T(4 * kInversePi * kind.omega) * sum;
  const T below = steepness < 1 ? steepness : T(1);
  const T held = below > -1 ? below : T(-1);
  return std::fabs(turns) < 1073741824. ? scale * held : T(0);
}

}  // namespace hashgcn::core
