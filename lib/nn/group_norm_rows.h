// Group normalisation and SiLU over channels-last rows on the CPU, in two passes over the data
// where separate operators take four.
#pragma once

#include <cstdint>

namespace backlot::rows {

// Rows are pixels: x is [count, channels]. Values are float, or bfloat16 as its upper 16 bits.

// Adds the sum and the sum of squares of each channel's distance from `pivot` to `sums` and
// `squares`. A pivot near the channel's mean keeps the variance exact where it is small beside it.
void add_moments(const float* x, const float* pivot, int64_t count, int64_t channels, double* sums,
                 double* squares);
void add_moments(const uint16_t* x, const uint16_t* pivot, int64_t count, int64_t channels,
                 double* sums, double* squares);

// out[c] = row[c] as float
void widen_row(const float* row, int64_t channels, float* out);
void widen_row(const uint16_t* row, int64_t channels, float* out);

// y = x * scale + shift by channel.
void scale_and_shift(const float* x, float* y, int64_t count, int64_t channels, const float* scale,
                     const float* shift);
void scale_and_shift(const uint16_t* x, uint16_t* y, int64_t count, int64_t channels,
                     const float* scale, const float* shift);

// The same, then y / (1 + exp(-y)).
void scale_shift_silu(const float* x, float* y, int64_t count, int64_t channels, const float* scale,
                      const float* shift);
void scale_shift_silu(const uint16_t* x, uint16_t* y, int64_t count, int64_t channels,
                      const float* scale, const float* shift);

}  // namespace backlot::rows
