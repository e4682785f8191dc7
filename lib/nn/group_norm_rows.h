// Group normalisation and SiLU over channels-last rows on the CPU, in two passes over the data where
// separate operators take four.
#pragma once

#include <cstdint>

namespace backlot::rows {

// Rows are pixels: x is [count, channels]. Values are float, or bfloat16 as its upper 16 bits.

// Adds each channel's sum and sum of squares to `sums` and `squares`.
void add_moments(const float* x, int64_t count, int64_t channels, double* sums, double* squares);
void add_moments(const uint16_t* x, int64_t count, int64_t channels, double* sums,
                 double* squares);

// y = x * scale + shift by channel.
void scale_and_shift(const float* x, float* y, int64_t count, int64_t channels, const float* scale,
                     const float* shift);
void scale_and_shift(const uint16_t* x, uint16_t* y, int64_t count, int64_t channels,
                     const float* scale, const float* shift);

// The same, then y / (1 + exp(-y)).
void scale_shift_silu(const float* x, float* y, int64_t count, int64_t channels,
                      const float* scale, const float* shift);
void scale_shift_silu(const uint16_t* x, uint16_t* y, int64_t count, int64_t channels,
                      const float* scale, const float* shift);

}  // namespace backlot::rows
