// Every operator that backlot's networks are made of, as a kernel: run through the layers that the
// networks run through, each call of a layer as one, with what it takes along. FLOPs are those of
// the direct algorithm, whatever a layer does instead. Shape letters: B batch, C channels, H and W
// map, L tokens, T tokens attended to, K width of a head.
#pragma once

#include "nn/attention.h"
#include "nn/resnet.h"
#include "probe/kernel.h"

namespace backlot::operators {

struct MapShape {
  int64_t batch, channels, height, width;
};

// What a convolution adds to its result.
enum class Adds { bias, bias_and_shift, bias_and_residual, nothing };

Kernel conv(const MapShape& in, int64_t out, ConvShape shape = {});
Kernel conv3x3(const MapShape& in, int64_t out, Adds adds);
Kernel conv1x1(const MapShape& in, int64_t out);
Kernel upsample_conv3x3(const MapShape& in, int64_t height, int64_t width);  // from nearest pixels
Kernel group_norm(const MapShape& x, int64_t groups);
Kernel group_norm_silu(const MapShape& x, int64_t groups);
Kernel group_norm_silu_shifted(const MapShape& x, int64_t groups);  // by a value a channel
Kernel concatenate(const MapShape& a, int64_t more_channels);
Kernel add(const MapShape& x);           // a map, in place
Kernel add_residual(const MapShape& x);  // a map and a bias, in place

struct TokenShape {
  int64_t batch, tokens, width;
};

// `kind` says which of a network's layers it is: "linear_qkv".
Kernel linear(std::string kind, const TokenShape& x, int64_t out, Bias bias = Bias::learned);
Kernel linear_residual(std::string kind, const TokenShape& x, int64_t out);
Kernel geglu(const TokenShape& x, int64_t out);  // a linear layer and its gate
Kernel layer_norm(const TokenShape& x);
Kernel add_layer_norm(const TokenShape& x);  // of a sum that is kept
Kernel rms_norm(const TokenShape& x);
Kernel add(const TokenShape& x);

enum class Gate { gelu, silu };

// The gate alone. x: [B, L, 2 N] -> [B, L, N], one half through the gate times the other
Kernel gated(Gate gate, const TokenShape& x);

enum class Activation { gelu, gelu_tanh, quick_gelu };
Kernel activation(Activation kind, const TokenShape& x);

Kernel self_attention(const TokenShape& x, int64_t heads, Mask mask = Mask::none);
Kernel cross_attention(const TokenShape& x, int64_t heads, int64_t attended);

// Several heads share keys and values. `attended` is the length with what came before; L tokens at
// its end ask, each for what is not after it.
struct GroupedHeads {
  int64_t heads, key_heads, width;
};
Kernel grouped_attention(int64_t batch, int64_t tokens, int64_t attended,
                         const GroupedHeads& heads);

// With a number added to each score, as T5 says distances.
Kernel biased_attention(const TokenShape& x, int64_t heads);

// What the networks' layers do along with others, which depends on dtype and device.
struct Habits {
  Habits(at::ScalarType dtype, at::Device device);  // as the layers say

  bool convs_leave_bias;      // to the normalisation or the sum after them
  bool linears_add_residual;  // to what they compute, in no pass of its own
};

// A ResnetBlock2D, in the order of its steps.
std::vector<Kernel> resnet(const MapShape& x, int64_t out, int64_t groups, bool hears_time,
                           const Habits& habits);

}  // namespace backlot::operators
